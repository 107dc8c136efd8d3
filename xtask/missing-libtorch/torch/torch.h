// The compiler finds this file only when libtorch's own <torch/torch.h> is missing.
// The include below cannot be resolved, so its name becomes the one line of the error.
#include "libtorch is missing: run 'cargo xtask setup' first"
