//! Log records shown field by field, for those who print them.

use bytes::Bytes;
use bytestring::ByteString;

use crate::Uuid;

/// A value that can be shown: plain values here, log records in the generated code.
pub trait Inspect {
    /// Shows the value.
    fn show(&self, to: &mut dyn Inspector);
}

/// Gets the parts of a value, in their order.
pub trait Inspector {
    /// An absent value.
    fn null(&mut self);
    /// A truth value.
    fn bool(&mut self, value: bool);
    /// An integer of any width.
    fn integer(&mut self, value: i64);
    /// A floating-point number.
    fn float(&mut self, value: f64);
    /// A string, or an id as text.
    fn text(&mut self, value: &str);
    /// Opaque bytes.
    fn bytes(&mut self, value: &[u8]);
    /// A list begins; its items follow.
    fn begin_list(&mut self);
    /// The list ends.
    fn end_list(&mut self);
    /// A struct begins; a name and a value follow for each field.
    fn begin_struct(&mut self);
    /// The name of the next field, as Kafka's JSON has it.
    fn field(&mut self, name: &'static str);
    /// The struct ends.
    fn end_struct(&mut self);
}

macro_rules! integers {
    ($($type:ty),*) => {
        $(impl Inspect for $type {
            fn show(&self, to: &mut dyn Inspector) {
                to.integer(i64::from(*self));
            }
        })*
    };
}

integers!(i8, i16, u16, i32, u32, i64);

impl Inspect for bool {
    fn show(&self, to: &mut dyn Inspector) {
        to.bool(*self);
    }
}

impl Inspect for f64 {
    fn show(&self, to: &mut dyn Inspector) {
        to.float(*self);
    }
}

impl Inspect for Uuid {
    fn show(&self, to: &mut dyn Inspector) {
        to.text(&self.to_string());
    }
}

impl Inspect for ByteString {
    fn show(&self, to: &mut dyn Inspector) {
        to.text(self);
    }
}

impl Inspect for Bytes {
    fn show(&self, to: &mut dyn Inspector) {
        to.bytes(self);
    }
}

impl<T: Inspect> Inspect for Option<T> {
    fn show(&self, to: &mut dyn Inspector) {
        match self {
            Some(value) => value.show(to),
            None => to.null(),
        }
    }
}

impl<T: Inspect> Inspect for Vec<T> {
    fn show(&self, to: &mut dyn Inspector) {
        to.begin_list();
        for item in self {
            item.show(to);
        }
        to.end_list();
    }
}
