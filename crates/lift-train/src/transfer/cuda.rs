//! CUDA behind the ring: a copy stream of our own, libtorch's stream, and the kernel that makes patches.
//!
//! All unsafe code of this crate is here. Each block says which order of the streams makes it sound; that order is made
//! in [`super::ring`], the only caller. Our own events keep it: cudarc's are switched off, so that a call here is a call
//! there. The driver is loaded when a device is opened; without it that is an error of one line.
//!
//! libtorch computes on the legacy default stream of the device's primary context, which is cudarc's default stream too.

mod kernels;

use std::{ptr::NonNull, sync::Arc};

use cudarc::{
    driver::{
        CudaContext, CudaEvent, CudaFunction, CudaSlice, CudaStream, DevicePtr, DriverError,
        LaunchConfig, PinnedHostSlice, PushKernelArg, result, sys,
    },
    nvrtc::Ptx,
};
use lift_models::device_name;
use tch::{Device, Kind, Tensor};

use kernels::{ENTRIES, PTX};

use lift_loader::{Layout, Memory};

use super::{
    ring::{Engine, Pinned, Queue},
    table::Table,
};
use crate::error::{Error, Result};

/// Threads of a block.
const THREADS: u32 = 256;
/// The most blocks that a grid can have in its second dimension.
const MOST_ROWS: usize = 65_535;

/// An open device.
#[derive(Clone)]
pub(super) struct Cuda(Arc<Opened>);

struct Opened {
    number: usize,
    context: Arc<CudaContext>,
    copies: Arc<CudaStream>,
    compute: Arc<CudaStream>,
    kernel: CudaFunction,
    /// Freed on the compute stream, which is the only one to read it.
    table: CudaSlice<u8>,
    kind: Kind,
    patch: u32,
}

impl Drop for Opened {
    /// A kernel that is still to run needs its code and its table. An error has been said where it came up.
    fn drop(&mut self) {
        let _ = self.compute.synchronize();
    }
}

impl Cuda {
    /// Opens CUDA device `number` for patches of `patch` pixels.
    ///
    /// # Errors
    /// When the driver or the device is missing, or a call fails.
    pub(super) fn open(number: usize, kind: Kind, patch: u32, table: &Table) -> Result<Self> {
        let failed = |reason: String| device_error(number, reason);
        let driver = |e: DriverError| failed(driver_reason(e));
        // SAFETY: only asks whether the driver's library can be loaded; its initialisers are the driver's own.
        if !unsafe { sys::is_culib_present() } {
            return Err(failed(
                "there is no CUDA driver\nhint: use --device cpu".into(),
            ));
        }
        let devices = CudaContext::device_count().map_err(driver)?;
        if number >= devices as usize {
            return Err(failed(format!("there are {devices} CUDA devices")));
        }
        let context = CudaContext::new(number).map_err(driver)?;
        // SAFETY: what cudarc asks for in return is what the ring does: memory is freed on the copy stream after its
        // last reader on the compute stream, used elsewhere only after an event recorded behind its allocation, and
        // written on one stream only.
        unsafe { context.disable_event_tracking() };
        let copies = context.new_stream().map_err(driver)?;
        let compute = context.default_stream();

        let module = context.load_module(Ptx::from_src(PTX)).map_err(driver)?;
        let entry = ENTRIES[usize::from(table.word_bytes() == 4)];
        let kernel = module.load_function(entry).map_err(driver)?;
        let words = compute.clone_htod(table.bytes()).map_err(driver)?;
        // Once: the table's bytes are the caller's, and errors of the device show here.
        compute.synchronize().map_err(driver)?;
        Ok(Self(Arc::new(Opened {
            number,
            context,
            copies,
            compute,
            kernel,
            table: words,
            kind,
            patch,
        })))
    }

    /// The present end of what the device has to compute.
    pub(super) fn mark(&self) -> Result<CudaEvent> {
        let event = self.0.context.new_event(None).map_err(self.failed())?;
        event.record(&self.0.compute).map_err(self.failed())?;
        Ok(event)
    }

    /// Whether the device has come so far.
    pub(super) fn has_passed(&self, mark: &CudaEvent) -> Result<bool> {
        mark.try_is_complete().map_err(self.failed())
    }

    fn stream(&self, queue: Queue) -> &Arc<CudaStream> {
        match queue {
            Queue::Copies => &self.0.copies,
            Queue::Compute => &self.0.compute,
        }
    }

    fn failed(&self) -> impl Fn(DriverError) -> Error {
        let number = self.0.number;
        move |e| device_error(number, driver_reason(e))
    }
}

fn device_error(number: usize, reason: String) -> Error {
    Error::Device {
        device: device_name(Device::Cuda(number)),
        reason,
    }
}

fn driver_reason(error: DriverError) -> String {
    let name = error.error_name().map(|name| name.to_string_lossy());
    let text = error.error_string().map(|text| text.to_string_lossy());
    match (name, text) {
        (Ok(name), Ok(text)) => format!("{text} ({name})"),
        _ => format!("{error:?}"),
    }
}

/// Pinned memory as any other to the host: crops are resized right into it, which reads what it wrote; write-combined memory, which is
/// slow to read, would have to be seen to be faster first.
pub(super) struct Host {
    /// Owns what `start` points at.
    memory: PinnedHostSlice<u8>,
    start: NonNull<u8>,
}

// SAFETY: the memory belongs to this value alone, as a Vec's does, and any thread may use it; freeing it binds the
// context to the thread that does.
unsafe impl Send for Host {}
// SAFETY: shared references only read.
unsafe impl Sync for Host {}

impl Host {
    fn bytes(&self) -> &[u8] {
        // SAFETY: `start` points at `memory.len()` bytes that were zeroed when they were allocated and live as long as
        // `self`. The device only ever reads them, and they are written through `&mut self` alone.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.memory.len()) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` excludes others of this process. The device does not read meanwhile:
        // `Pinned` gives this out only after the event behind the copy that read it (ring, 1.). What is written here on
        // any core is seen by the next copy: the batch goes to the thread that starts it through locks and channels.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.memory.len()) }
    }
}

/// # Panics
/// `bytes_mut` does when a copy reads them.
impl Memory for Pinned<Cuda> {
    fn bytes(&self) -> &[u8] {
        self.host().bytes()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.host_mut().bytes_mut()
    }

    fn settle(&mut self) -> lift_loader::Result<()> {
        Ok(Pinned::settle(self)?)
    }
}

impl Engine for Cuda {
    type Host = Host;
    type Memory = CudaSlice<u8>;
    type Event = CudaEvent;
    /// Patches (crops, n, 3 p p) and labels (images).
    type Output = (Tensor, Tensor);

    fn host(&self, bytes: usize) -> Result<Host> {
        let bytes = bytes.max(1).next_multiple_of(1 << 16);
        // SAFETY: new memory holds anything; it is zeroed below before a reference to it is made.
        let memory = unsafe { self.0.context.alloc_pinned_with_flags::<u8>(bytes, 0) };
        let mut memory = memory.map_err(|e| {
            let mib = bytes >> 20;
            device_error(
                self.0.number,
                format!("{mib} MiB of pinned memory: {}", driver_reason(e)),
            )
        })?;
        // cudarc waits for its own event, which was never recorded.
        let start = memory.as_mut_ptr().map_err(self.failed())?;
        let start = NonNull::new(start).expect("cudarc checks it");
        // SAFETY: `start` points at `bytes` bytes that nobody else knows of yet.
        unsafe { start.write_bytes(0, bytes) };
        Ok(Host { memory, start })
    }

    fn write(&self, host: &mut Host, at: usize, bytes: &[u8]) {
        host.bytes_mut()[at..][..bytes.len()].copy_from_slice(bytes);
    }

    fn memory(&self, bytes: usize) -> Result<CudaSlice<u8>> {
        // SAFETY: new memory holds anything; a copy writes it before a kernel reads it (ring, 3.). It is allocated and
        // freed on the copy stream: its first use there comes after its allocation, and when it is freed that stream
        // has been told to wait for its last reader (ring, 4.).
        unsafe { self.0.copies.alloc::<u8>(bytes.max(1)) }.map_err(self.failed())
    }

    fn event(&self) -> Result<CudaEvent> {
        // A host that waits sleeps: it would take a core from those that prepare batches.
        let flags = sys::CUevent_flags::CU_EVENT_BLOCKING_SYNC;
        self.0.context.new_event(Some(flags)).map_err(self.failed())
    }

    fn record(&self, event: &CudaEvent, queue: Queue) -> Result<()> {
        event.record(self.stream(queue)).map_err(self.failed())
    }

    fn wait(&self, queue: Queue, event: &CudaEvent) -> Result<()> {
        self.stream(queue).wait(event).map_err(self.failed())
    }

    fn finish(&self, event: &CudaEvent) -> Result<()> {
        event.synchronize().map_err(self.failed())
    }

    fn copy(&self, from: &Host, to: &mut CudaSlice<u8>, bytes: usize) -> Result<()> {
        let source = &from.bytes()[..bytes];
        assert!(bytes <= to.len(), "staging memory is too small");
        self.0.context.bind_to_thread().map_err(self.failed())?;
        let (target, _) = to.device_ptr(&self.0.copies);
        let stream = self.0.copies.cu_stream();
        // SAFETY: both sides have `bytes` bytes. The copy is done later. Until then `source` is neither written nor
        // freed: the ring records an event behind it, for which `Pinned` waits before either. `target` was allocated on
        // this stream before, the stream waits for the kernel that read it last (ring, 2.), and the kernel that reads
        // it next waits for the event that is recorded behind this copy (ring, 3.).
        unsafe { result::memcpy_htod_async(target, source, stream) }.map_err(self.failed())
    }

    fn make(&self, from: &CudaSlice<u8>, layout: Layout) -> Result<(Tensor, Tensor)> {
        assert!(layout.bytes() <= from.len(), "a batch lies in the memory");
        let Opened {
            number,
            context,
            compute,
            kernel,
            table,
            kind,
            patch,
            ..
        } = &*self.0;
        let device = Device::Cuda(*number);
        let columns = i64::from(layout.side / patch);
        let words = 3 * i64::from(*patch).pow(2);
        let size = [layout.crops as i64, columns * columns, words];
        let patches = Tensor::f_empty(size, (*kind, device)).map_err(lift_models::Error::from)?;
        let labels = Tensor::f_empty([layout.images as i64], (Kind::Int64, device))
            .map_err(lift_models::Error::from)?;

        let crop_words = layout.crop_bytes() as u32;
        let (start, _) = from.device_ptr(compute);
        if layout.images > 0 {
            context.bind_to_thread().map_err(self.failed())?;
            let source = start + layout.labels_at() as u64;
            let target = labels.data_ptr() as sys::CUdeviceptr;
            // SAFETY: both sides have 8 bytes a label, `source` within the batch. The compute stream waits for the copy
            // that wrote the batch (ring, 3.), and the event recorded behind this call keeps the next copy away (ring,
            // 2.). `target` is a contiguous tensor that was just allocated: libtorch hands out its memory, and takes it
            // back when the tensor goes, in the order of this same stream.
            unsafe {
                result::memcpy_dtod_async(target, source, 8 * layout.images, compute.cu_stream())
            }
            .map_err(self.failed())?;
        }
        if layout.crops > 0 && crop_words > 0 {
            let mirrored = start + layout.mirrored_at() as u64;
            let out = patches.data_ptr() as sys::CUdeviceptr;
            let (crops, side) = (layout.crops as u32, layout.side);
            let rows = layout.crops.min(MOST_ROWS) as u32;
            let grid = LaunchConfig {
                grid_dim: (crop_words.div_ceil(THREADS), rows, 1),
                block_dim: (THREADS, 1, 1),
                shared_mem_bytes: 0,
            };
            let mut launch = compute.launch_builder(kernel);
            launch.arg(&start).arg(&mirrored).arg(table).arg(&out);
            launch.arg(&crops).arg(&side).arg(patch);
            // SAFETY: the arguments are the kernel's in number, order and size: four pointers, three u32. It reads the
            // pixels and flags of `crops` crops, which lie in `from`, and 768 words of the table; it writes as many
            // words as the pixels have bytes, which is what `patches` holds, because `side` is a multiple of `patch`
            // (`Transfer` checks it). In order as the labels above; the table was written before the first launch.
            unsafe { launch.launch(grid) }.map_err(self.failed())?;
        }
        Ok((patches, labels))
    }
}
