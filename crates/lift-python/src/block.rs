//! Memory of ours that Python's libraries use as an array of theirs, by DLPack (github.com/dmlc/dlpack, version 0.x: a capsule
//! `dltensor` around a `DLManagedTensor`).
//!
//! All unsafe code of this crate is here. Invariant: the memory has one owner, this class until it is handed over once, then whoever
//! took the capsule's content and calls its deleter.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_void},
    ptr,
    sync::{Mutex, PoisonError},
};

use lift_loader::Pixels;
use pyo3::{exceptions::PyBufferError, ffi, prelude::*, types::PyDict};

/// The capsule's name until its content is taken.
const NAME: &CStr = c"dltensor";
/// `kDLCPU`.
const CPU: i32 = 1;

#[repr(C)]
struct DlDevice {
    kind: i32,
    number: i32,
}

#[repr(C)]
struct DlType {
    code: u8,
    bits: u8,
    lanes: u16,
}

#[repr(C)]
struct DlTensor {
    data: *mut c_void,
    device: DlDevice,
    dimensions: i32,
    kind: DlType,
    shape: *mut i64,
    strides: *mut i64,
    byte_offset: u64,
}

#[repr(C)]
struct DlManagedTensor {
    tensor: DlTensor,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut DlManagedTensor)>,
}

/// What the array lies in.
pub(crate) enum Memory {
    /// Bytes of pixels; when they are let go, they make room for a later batch.
    Pixels(Pixels),
    /// 64-bit whole numbers.
    Numbers(Vec<i64>),
}

/// An array (row-major, compact) that can be handed over once.
#[pyclass(frozen, module = "lift._native")]
pub(crate) struct Block(Mutex<Option<(Memory, Vec<i64>)>>);

impl Block {
    /// # Panics
    /// When the shape has not as many elements as the memory.
    pub(crate) fn new(memory: Memory, shape: Vec<i64>) -> Self {
        let held = match &memory {
            Memory::Pixels(pixels) => pixels.len(),
            Memory::Numbers(numbers) => numbers.len(),
        };
        assert_eq!(shape.iter().product::<i64>(), held as i64);
        Self(Mutex::new(Some((memory, shape))))
    }
}

#[pymethods]
impl Block {
    /// The capsule; what is asked for besides (stream, version, device) changes nothing in the memory of a CPU.
    #[pyo3(signature = (**_asked))]
    fn __dlpack__<'py>(
        &self,
        py: Python<'py>,
        _asked: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (memory, shape) =
            held.ok_or_else(|| PyBufferError::new_err("this memory was handed over already"))?;
        let managed = managed(memory, shape);
        // SAFETY: Python's lock is held; the pointer is not null, the name lives for ever, and the destructor takes a capsule.
        let capsule =
            unsafe { ffi::PyCapsule_New(managed.cast(), NAME.as_ptr(), Some(drop_capsule)) };
        if capsule.is_null() {
            // SAFETY: nobody else has the pointer.
            unsafe { delete(managed) };
            return Err(PyErr::fetch(py));
        }
        // SAFETY: a new reference, which is not null.
        Ok(unsafe { Bound::from_owned_ptr(py, capsule) })
    }

    #[expect(clippy::unused_self, reason = "the protocol's form")]
    fn __dlpack_device__(&self) -> (i32, i32) {
        (CPU, 0)
    }
}

/// What the deleter lets go of.
struct Owned {
    managed: DlManagedTensor,
    shape: Vec<i64>,
    _memory: Memory,
}

fn managed(mut memory: Memory, shape: Vec<i64>) -> *mut DlManagedTensor {
    // kDLUInt is 1, kDLInt is 0.
    let (data, code, bits) = match &mut memory {
        Memory::Pixels(pixels) => (pixels.as_mut_ptr().cast(), 1, 8),
        Memory::Numbers(numbers) => (numbers.as_mut_ptr().cast(), 0, 64),
    };
    let tensor = DlTensor {
        data,
        device: DlDevice {
            kind: CPU,
            number: 0,
        },
        dimensions: shape.len() as i32,
        kind: DlType {
            code,
            bits,
            lanes: 1,
        },
        shape: ptr::null_mut(),
        // Row-major and compact.
        strides: ptr::null_mut(),
        byte_offset: 0,
    };
    // The memory's bytes lie in an allocation of their own, and stay where they are when its owner moves.
    let owned = Box::leak(Box::new(Owned {
        managed: DlManagedTensor {
            tensor,
            context: ptr::null_mut(),
            deleter: Some(delete),
        },
        shape,
        _memory: memory,
    }));
    owned.managed.tensor.shape = owned.shape.as_mut_ptr();
    let whole = ptr::from_mut(owned);
    // SAFETY: `whole` is the box that was just leaked, and nobody else knows of it.
    unsafe {
        (*whole).managed.context = whole.cast();
        &raw mut (*whole).managed
    }
}

/// Lets go of the memory. Called once, by whoever has taken the content, on any thread.
unsafe extern "C" fn delete(managed: *mut DlManagedTensor) {
    // SAFETY: `managed` lies in the box of `managed()`, which its context points at; the caller owns it and calls once.
    drop(unsafe { Box::from_raw((*managed).context.cast::<Owned>()) });
}

/// A capsule goes: if its content was not taken, and so its name not changed, the memory goes with it.
unsafe extern "C" fn drop_capsule(capsule: *mut ffi::PyObject) {
    // SAFETY: Python calls this with the capsule and its lock; a pointer under the name is ours, and is not taken.
    unsafe {
        if ffi::PyCapsule_IsValid(capsule, NAME.as_ptr()) == 1 {
            delete(ffi::PyCapsule_GetPointer(capsule, NAME.as_ptr()).cast());
        }
    }
}
