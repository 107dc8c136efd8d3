//! Protobuf's wire format, as far as an ONNX file needs it: numbers, floats, texts and messages in messages.
//!
//! It knows no message of ONNX; their field numbers stand in [`super::file`]. Nothing is read here. Invariant: fields stand in
//! the order in which they were added, so that the same calls give the same bytes.

/// How a field's value is laid out (protobuf's encoding, "Message structure").
#[derive(Clone, Copy)]
enum Wire {
    /// Seven bits a byte, the lowest first.
    Varint = 0,
    /// A length and so many bytes.
    Bytes = 2,
    /// Four bytes, little-endian.
    Fixed32 = 5,
}

/// A message's bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// Adds a whole number, or an enum's value.
    pub fn int(mut self, field: u32, value: i64) -> Self {
        self.tag(field, Wire::Varint);
        // A negative one takes ten bytes, as its two's complement.
        self.varint(value as u64);
        self
    }

    /// Adds the numbers of a repeated field, each as a field of its own.
    pub fn ints(self, field: u32, values: &[i64]) -> Self {
        let add = |message: Self, &value: &i64| message.int(field, value);
        values.iter().fold(self, add)
    }

    /// Adds a float.
    pub fn float(mut self, field: u32, value: f32) -> Self {
        self.tag(field, Wire::Fixed32);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Adds a text.
    pub fn text(self, field: u32, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    /// Adds bytes.
    pub fn bytes(mut self, field: u32, value: &[u8]) -> Self {
        self = self.head(field, value.len());
        self.0.extend(value);
        self
    }

    /// Adds a message.
    pub fn message(self, field: u32, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }

    /// Adds what stands before a text, bytes or a message of this length, which is to follow.
    pub fn head(mut self, field: u32, length: usize) -> Self {
        self.tag(field, Wire::Bytes);
        self.varint(length as u64);
        self
    }

    /// What was added.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn tag(&mut self, field: u32, wire: Wire) {
        self.varint(u64::from(field) << 3 | wire as u64);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_protobufs_documentation() {
        let bytes = |message: Message| message.as_bytes().to_vec();
        assert_eq!(bytes(Message::default().int(1, 150)), [0x08, 0x96, 0x01]);
        let text = Message::default().text(2, "testing");
        assert_eq!(bytes(text), b"\x12\x07testing");
        let inner = Message::default().int(1, 150);
        let outer = Message::default().message(3, &inner);
        assert_eq!(bytes(outer), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let negative = [
            0x08, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
        ];
        assert_eq!(bytes(Message::default().int(1, -2)), negative);
        let repeated = Message::default().ints(6, &[1, 2, 3]);
        assert_eq!(bytes(repeated), [0x30, 1, 0x30, 2, 0x30, 3]);
        // A field number above 15 takes two bytes; 1.5 is 0x3fc00000.
        let float = Message::default().float(20, 1.5);
        assert_eq!(bytes(float), [0xa5, 0x01, 0, 0, 0xc0, 0x3f]);
    }
}
