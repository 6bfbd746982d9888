//! Typed handles: the name and type of a broker key, checked against its row at compile time.

use std::marker::PhantomData;

use crate::def::{Default, KeyDef, Type};
use crate::keys;
use crate::value::Value;

/// A broker key whose value reads as `T`. Made by the table in [`crate::keys`] only.
#[derive(Debug)]
pub struct Key<T> {
    index: usize,
    value: PhantomData<fn() -> T>,
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T: KeyType> Key<T> {
    /// Finds the row. Fails to compile when there is none, or when it is of another type.
    pub(crate) const fn of(name: &str) -> Self {
        let mut index = 0;
        let mut areas: &[&[KeyDef]] = keys::BROKER;
        while let [area, more @ ..] = areas {
            let mut rows = *area;
            while let [row, rest @ ..] = rows {
                if same(row.name, name) {
                    assert!(
                        contains(T::TYPES, row.ty),
                        "the handle is of another type than the row"
                    );
                    let nullable = !matches!(row.default, Default::Is(_));
                    assert!(nullable == T::NULLABLE, "only a row without default is an Option");
                    return Self { index, value: PhantomData };
                }
                rows = rest;
                index += 1;
            }
            areas = more;
        }
        assert!(index == usize::MAX, "no row has this name");
        Self { index, value: PhantomData }
    }

    /// The row's place among all broker keys.
    pub(crate) const fn index(self) -> usize {
        self.index
    }
}

/// A Rust type that a key's value can be read as.
pub trait KeyType {
    /// What reading gives; borrows from the configuration.
    type Read<'a>;
    /// Row types it can hold.
    const TYPES: &'static [Type];
    /// Whether absent is a value.
    const NULLABLE: bool = false;
    /// Reads it; `None` means the value is of another type, which the handle's check excludes.
    fn read(value: &Value) -> Option<Self::Read<'_>>;
}

impl KeyType for bool {
    type Read<'a> = bool;
    const TYPES: &'static [Type] = &[Type::Boolean];
    fn read(value: &Value) -> Option<bool> {
        if let Value::Bool(value) = value { Some(*value) } else { None }
    }
}

impl KeyType for i16 {
    type Read<'a> = i16;
    const TYPES: &'static [Type] = &[Type::Short];
    fn read(value: &Value) -> Option<i16> {
        if let Value::Integer(value) = value { i16::try_from(*value).ok() } else { None }
    }
}

impl KeyType for i32 {
    type Read<'a> = i32;
    const TYPES: &'static [Type] = &[Type::Int];
    fn read(value: &Value) -> Option<i32> {
        if let Value::Integer(value) = value { i32::try_from(*value).ok() } else { None }
    }
}

impl KeyType for i64 {
    type Read<'a> = i64;
    const TYPES: &'static [Type] = &[Type::Long];
    fn read(value: &Value) -> Option<i64> {
        if let Value::Integer(value) = value { Some(*value) } else { None }
    }
}

impl KeyType for f64 {
    type Read<'a> = f64;
    const TYPES: &'static [Type] = &[Type::Double];
    fn read(value: &Value) -> Option<f64> {
        if let Value::Double(value) = value { Some(*value) } else { None }
    }
}

impl KeyType for String {
    type Read<'a> = &'a str;
    const TYPES: &'static [Type] = &[Type::String, Type::Class, Type::Password];
    fn read(value: &Value) -> Option<&str> {
        if let Value::Text(value) = value { Some(value) } else { None }
    }
}

impl KeyType for Vec<String> {
    type Read<'a> = &'a [String];
    const TYPES: &'static [Type] = &[Type::List];
    fn read(value: &Value) -> Option<&[String]> {
        if let Value::List(value) = value { Some(value) } else { None }
    }
}

impl<T: KeyType> KeyType for Option<T> {
    type Read<'a> = Option<T::Read<'a>>;
    const TYPES: &'static [Type] = T::TYPES;
    const NULLABLE: bool = true;
    fn read(value: &Value) -> Option<Option<T::Read<'_>>> {
        if *value == Value::Null { Some(None) } else { T::read(value).map(Some) }
    }
}

/// `==` of strings, at compile time.
const fn same(a: &str, b: &str) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while let ([x, more_a @ ..], [y, more_b @ ..]) = (a, b) {
        if *x != *y {
            return false;
        }
        a = more_a;
        b = more_b;
    }
    true
}

const fn contains(types: &[Type], ty: Type) -> bool {
    let mut types = types;
    while let [one, rest @ ..] = types {
        if *one as u8 == ty as u8 {
            return true;
        }
        types = rest;
    }
    false
}
