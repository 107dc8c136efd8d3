/* JPEG decoding through libjpeg-turbo's older interface. Its TurboJPEG interface keeps the last warning only,
 * and whether a warning costs pixels can be told of each alone. Errors leave the library by longjmp, which must
 * not cross Rust: that is why this is C. `src/libjpeg.rs` is the only caller and checks all sizes. */

#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

enum lift_jpeg_verdict { LIFT_JPEG_DONE = 0, LIFT_JPEG_REFUSED = 1, LIFT_JPEG_DAMAGED = 2, LIFT_JPEG_CUT = 3 };

/* What the header says. */
struct lift_jpeg_header {
  uint32_t width;
  uint32_t height;
  /* Blocks of 8 x 8 samples. */
  uint64_t num_blocks;
  /* Columns of a block of all colours. */
  uint32_t block_width;
  /* Nonzero: all coefficients are in memory before the first row comes out; colour at every pixel or every other
   * one. */
  int32_t is_buffered;
  int32_t is_usual;
};

struct lift_jpeg {
  struct jpeg_decompress_struct info;
  struct jpeg_error_mgr errors;
  struct jpeg_progress_mgr progress;
  jmp_buf failed;
  const unsigned char *start;
  int max_scans;
  /* Nonzero: damage is noted, and decoding goes on. */
  int keeps_damaged;
  /* Nonzero once the header was read. */
  int in_image;
  enum lift_jpeg_verdict verdict;
  /* Of the error, or of the first damage. */
  char message[JMSG_LENGTH_MAX];
};

/* More than so many stray bytes after coded data are data that no block took: the decoder lost its way in it. */
#define MOST_STRAY_BYTES 32

/* More than the library makes at once. */
#define ROWS_AT_A_TIME 8

static void fail(j_common_ptr info) {
  struct lift_jpeg *jpeg = (struct lift_jpeg *)info;
  if (jpeg->verdict != LIFT_JPEG_CUT && jpeg->verdict != LIFT_JPEG_DAMAGED) {
    info->err->format_message(info, jpeg->message);
    jpeg->verdict = LIFT_JPEG_REFUSED;
  }
  longjmp(jpeg->failed, 1);
}

static void refuse(struct lift_jpeg *jpeg, const char *reason) {
  snprintf(jpeg->message, sizeof(jpeg->message), "%s", reason);
  jpeg->verdict = LIFT_JPEG_REFUSED;
  longjmp(jpeg->failed, 1);
}

/* Notes the first damage, and ends decoding where damage is not kept. */
static void note(struct lift_jpeg *jpeg, enum lift_jpeg_verdict verdict, const char *reason) {
  if (jpeg->verdict == LIFT_JPEG_DONE) {
    jpeg->verdict = verdict;
    if (reason)
      snprintf(jpeg->message, sizeof(jpeg->message), "%s", reason);
    else
      jpeg->errors.format_message((j_common_ptr)&jpeg->info, jpeg->message);
  }
  if (!jpeg->keeps_damaged) longjmp(jpeg->failed, 1);
}

/* Whether bytes that no block took are padding: few of them, or the same value over and over. */
static int is_padding(const struct lift_jpeg *jpeg) {
  size_t count = (size_t)jpeg->errors.msg_parm.i[0];
  const unsigned char *end = jpeg->info.src->next_input_byte;
  if (!jpeg->in_image || count <= MOST_STRAY_BYTES) return 1;
  if (count > (size_t)(end - jpeg->start)) return 0;
  for (const unsigned char *at = end - count; at < end; at++)
    if (*at != end[-1]) return 0;
  return 1;
}

static void warn(j_common_ptr info, int level) {
  struct lift_jpeg *jpeg = (struct lift_jpeg *)info;
  if (level >= 0) return;
  switch (info->err->msg_code) {
  /* Odd parameters, with which the data was nevertheless coded; and metadata. */
  case JWRN_ADOBE_XFORM:
  case JWRN_BOGUS_ICC:
  case JWRN_BOGUS_PROGRESSION:
  case JWRN_JFIF_MAJOR:
  case JWRN_NOT_SEQUENTIAL:
    return;
  case JWRN_EXTRANEOUS_DATA:
    if (!is_padding(jpeg)) note(jpeg, LIFT_JPEG_DAMAGED, NULL);
    return;
  case JWRN_JPEG_EOF:
    note(jpeg, LIFT_JPEG_CUT, NULL);
    return;
  default:
    note(jpeg, LIFT_JPEG_DAMAGED, NULL);
  }
}

static void say_nothing(j_common_ptr info) { (void)info; }

static void count_scans(j_common_ptr info) {
  struct lift_jpeg *jpeg = (struct lift_jpeg *)info;
  if (info->is_decompressor && jpeg->info.input_scan_number > jpeg->max_scans)
    refuse(jpeg, "more scans than any program writes");
}

void lift_jpeg_close(struct lift_jpeg *jpeg) {
  if (!jpeg) return;
  jpeg_destroy_decompress(&jpeg->info);
  free(jpeg);
}

static int create(struct lift_jpeg *jpeg, const unsigned char *bytes, size_t length, long max_bytes) {
  if (setjmp(jpeg->failed)) return -1;
  jpeg_create_decompress(&jpeg->info);
  jpeg->info.mem->max_memory_to_use = max_bytes;
  jpeg->info.progress = &jpeg->progress;
  jpeg_mem_src(&jpeg->info, bytes, (unsigned long)length);
  return 0;
}

/* An instance that reads `length` bytes, with at most `max_bytes` beside the pixels; null without memory. */
struct lift_jpeg *lift_jpeg_new(const unsigned char *bytes, size_t length, long max_bytes, int max_scans,
                                int keeps_damaged) {
  struct lift_jpeg *jpeg = calloc(1, sizeof(struct lift_jpeg));
  if (!jpeg) return NULL;
  jpeg->info.err = jpeg_std_error(&jpeg->errors);
  jpeg->errors.error_exit = fail;
  jpeg->errors.emit_message = warn;
  jpeg->errors.output_message = say_nothing;
  jpeg->progress.progress_monitor = count_scans;
  jpeg->start = bytes;
  jpeg->max_scans = max_scans;
  jpeg->keeps_damaged = keeps_damaged;
  if (create(jpeg, bytes, length, max_bytes) == 0) return jpeg;
  lift_jpeg_close(jpeg);
  return NULL;
}

/* What the library says of the error or the first damage. */
const char *lift_jpeg_message(const struct lift_jpeg *jpeg) { return jpeg->message; }

/* What it came to so far. */
int lift_jpeg_verdict(const struct lift_jpeg *jpeg) { return (int)jpeg->verdict; }

/* 0 once the header was read, else the instance has a message. */
int lift_jpeg_open(struct lift_jpeg *jpeg, struct lift_jpeg_header *header) {
  j_decompress_ptr info = &jpeg->info;
  if (setjmp(jpeg->failed)) return -1;
  jpeg_read_header(info, TRUE);
  if (info->data_precision != 8) refuse(jpeg, "samples of more than 8 bits");
  if (info->jpeg_color_space == JCS_UNKNOWN) refuse(jpeg, "a number of colours that is no colour space");
  const jpeg_component_info *first = &info->comp_info[0];
  header->is_usual = info->num_components != 4;
  header->num_blocks = 0;
  for (int i = 0; i < info->num_components; i++) {
    const jpeg_component_info *each = &info->comp_info[i];
    uint64_t wide = (uint64_t)info->max_h_samp_factor * 8, tall = (uint64_t)info->max_v_samp_factor * 8;
    header->num_blocks += ((uint64_t)info->image_width * each->h_samp_factor + wide - 1) / wide *
                          (((uint64_t)info->image_height * each->v_samp_factor + tall - 1) / tall);
    for (int is_tall = 0; is_tall < 2; is_tall++) {
      int luma = is_tall ? first->v_samp_factor : first->h_samp_factor;
      int here = is_tall ? each->v_samp_factor : each->h_samp_factor;
      if (luma != here && luma != here * 2) header->is_usual = 0;
      if (i > 1 && here != (is_tall ? each[-1].v_samp_factor : each[-1].h_samp_factor)) header->is_usual = 0;
    }
  }
  header->width = info->image_width;
  header->height = info->image_height;
  /* The only colour's factors mean nothing. */
  header->block_width = info->num_components == 1 ? 8 : (uint32_t)info->max_h_samp_factor * 8;
  header->is_buffered = jpeg_has_multiple_scans(info);
  jpeg->in_image = 1;
  return 0;
}

/* One row of inks to RGB; as nearly all programs that write them, these have 255 for no ink. */
static void row_of_inks(const unsigned char *inks, unsigned char *rgb, uint32_t width) {
  for (uint32_t x = 0; x < width; x++, inks += 4, rgb += 3)
    for (int channel = 0; channel < 3; channel++) {
      unsigned product = (255u - inks[channel]) * inks[3] + 128;
      int light = (int)inks[3] - (int)((product + (product >> 8)) >> 8);
      rgb[channel] = (unsigned char)(light < 0 ? 0 : light);
    }
}

/* Whether all scans were there, once they were read: before the first row comes out where they are several. */
static void check_complete(struct lift_jpeg *jpeg) {
  j_decompress_ptr info = &jpeg->info;
  for (int i = 0; i < info->num_components; i++) {
    if (!info->comp_info[i].quant_table) note(jpeg, LIFT_JPEG_DAMAGED, "a colour has no data");
    if (!info->progressive_mode || !info->coef_bits) continue;
    for (int k = 0; k < DCTSIZE2; k++)
      if (info->coef_bits[i][k] > 0) {
        note(jpeg, LIFT_JPEG_DAMAGED, "scans are missing");
        break;
      }
  }
}

/* Decodes at `eighths` eighths of the size: `height` rows of `width` pixels from (`left`, `top`) on, of which `left` is
 * a multiple of the scaled block's width, into `pixels`, which has room for them. 0 when all of it was written. */
int lift_jpeg_decode(struct lift_jpeg *jpeg, uint32_t eighths, uint32_t left, uint32_t top, uint32_t width,
                     uint32_t height, unsigned char *pixels) {
  j_decompress_ptr info = &jpeg->info;
  if (setjmp(jpeg->failed)) return -1;
  const int is_cmyk = info->num_components == 4;
  info->out_color_space = is_cmyk ? JCS_CMYK : JCS_EXT_RGB;
  info->scale_num = eighths;
  info->scale_denom = 8;
  jpeg_start_decompress(info);
  if (jpeg_has_multiple_scans(info)) check_complete(jpeg);
  if (left + width > info->output_width || top + height > info->output_height)
    refuse(jpeg, "another size than its header says");
  if (left != 0 || width != info->output_width) {
    JDIMENSION from = left, columns = width;
    jpeg_crop_scanline(info, &from, &columns);
    if (from != left || columns != width) refuse(jpeg, "its blocks lie otherwise than its header says");
  }
  JSAMPARRAY inks = NULL;
  if (is_cmyk)
    inks = info->mem->alloc_sarray((j_common_ptr)info, JPOOL_IMAGE, info->output_width * 4, 1);
  if (top != 0) jpeg_skip_scanlines(info, top);
  while (info->output_scanline < top + height) {
    JSAMPROW rows[ROWS_AT_A_TIME];
    JDIMENSION count = top + height - info->output_scanline;
    if (count > ROWS_AT_A_TIME) count = ROWS_AT_A_TIME;
    for (JDIMENSION nth = 0; nth < count; nth++)
      rows[nth] = pixels + ((size_t)(info->output_scanline - top) + nth) * width * 3;
    if (is_cmyk) {
      jpeg_read_scanlines(info, inks, 1);
      row_of_inks(inks[0], rows[0], width);
    } else {
      jpeg_read_scanlines(info, rows, count);
    }
  }
  if (top + height < info->output_height) jpeg_skip_scanlines(info, info->output_height - top - height);
  jpeg_finish_decompress(info);
  return 0;
}
