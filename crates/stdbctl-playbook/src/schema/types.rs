//! The types of columns and parameters, with every reference followed.

use std::fmt;

use serde::{Serialize, Serializer};

/// A type of a column, of a parameter or of what a function returns.
///
/// Its text form is what people are shown: `u64`, `option<string>`, `array<u8>`, a named type by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// A number, a text or a truth value.
    Plain(Plain),
    /// Any number of elements of one type.
    Array(Box<Type>),
    /// Fields one after the other.
    Product(Members),
    /// One of several variants.
    Sum(Members),
    /// The type of this name, which is being defined further out.
    Recursive(String),
}

/// The types without parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names say all there is")]
pub enum Plain {
    String,
    Bool,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    I128,
    U128,
    I256,
    U256,
    F32,
    F64,
}

/// The fields of a product or the variants of a sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// The name clients know the type by, if it has one.
    pub name: Option<String>,
    /// The parts, in order.
    pub members: Vec<Member>,
}

/// A field or a variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name; every field a client sees has one.
    pub name: Option<String>,
    /// Its type; a variant without payload has the empty product.
    pub ty: Type,
}

/// Products of one field that mean more than the field, by that field's name.
const SPECIAL_PRODUCTS: [(&str, &str); 5] = [
    ("__identity__", "identity"),
    ("__connection_id__", "connection_id"),
    ("__timestamp_micros_since_unix_epoch__", "timestamp"),
    ("__time_duration_micros__", "time_duration"),
    ("__uuid__", "uuid"),
];

impl Type {
    /// Whether values of both look the same to a client: names of the types do not matter, those of fields and
    /// variants do.
    pub fn has_shape_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain(one), Self::Plain(two)) => one == two,
            (Self::Array(one), Self::Array(two)) => one.has_shape_of(two),
            (Self::Product(one), Self::Product(two)) | (Self::Sum(one), Self::Sum(two)) => {
                one.members.len() == two.members.len()
                    && one
                        .members
                        .iter()
                        .zip(&two.members)
                        .all(|(one, two)| one.name == two.name && one.ty.has_shape_of(&two.ty))
            }
            (Self::Recursive(one), Self::Recursive(two)) => one == two,
            _ => false,
        }
    }

    /// The text form with the parts of a named type spelled out: `State(idle | running: u32)`.
    pub fn spelled_out(&self) -> String {
        Shown { ty: self, levels: 1 }.to_string()
    }

    /// The text forms of two types, spelled out as far as it takes to tell them apart.
    pub fn apart(&self, other: &Self) -> (String, String) {
        let shown =
            |levels| (Shown { ty: self, levels }.to_string(), Shown { ty: other, levels }.to_string());
        (0..8).map(shown).find(|(one, two)| one != two).unwrap_or_else(|| shown(0))
    }

    fn is_unit(&self) -> bool {
        matches!(self, Self::Product(parts) if parts.members.is_empty())
    }

    /// What a type is that means more than its parts, with what is in it.
    fn special(&self) -> Option<(&'static str, Vec<&Self>)> {
        match self {
            Self::Product(parts) => {
                let [only] = parts.members.as_slice() else { return None };
                let name = only.name.as_deref()?;
                let (_, special) = SPECIAL_PRODUCTS.iter().find(|(field, _)| *field == name)?;
                Some((special, Vec::new()))
            }
            Self::Sum(parts) => {
                let [first, second] = parts.members.as_slice() else { return None };
                match (first.name.as_deref()?, second.name.as_deref()?) {
                    ("some", "none") if second.ty.is_unit() => Some(("option", vec![&first.ty])),
                    ("ok", "err") => Some(("result", vec![&first.ty, &second.ty])),
                    ("Interval", "Time") => Some(("schedule_at", Vec::new())),
                    _ => None,
                }
            }
            Self::Array(element) => Some(("array", vec![element])),
            Self::Plain(_) | Self::Recursive(_) => None,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown { ty: self, levels: 0 }.fmt(f)
    }
}

/// A type with so many levels of named types spelled out.
struct Shown<'ty> {
    ty: &'ty Type,
    levels: usize,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, inner)) = self.ty.special() {
            f.write_str(name)?;
            return self.in_brackets(f, &inner);
        }
        match self.ty {
            Type::Plain(plain) => plain.fmt(f),
            Type::Recursive(name) => f.write_str(name),
            Type::Product(fields) => self.parts(f, fields, ", "),
            Type::Sum(variants) => self.parts(f, variants, " | "),
            Type::Array(_) => Ok(()),
        }
    }
}

impl Shown<'_> {
    fn in_brackets(&self, f: &mut fmt::Formatter<'_>, inner: &[&Type]) -> fmt::Result {
        for (nth, ty) in inner.iter().enumerate() {
            f.write_str(if nth == 0 { "<" } else { ", " })?;
            write!(f, "{}", Shown { ty, levels: self.levels })?;
        }
        f.write_str(if inner.is_empty() { "" } else { ">" })
    }

    fn parts(&self, f: &mut fmt::Formatter<'_>, parts: &Members, between: &str) -> fmt::Result {
        let levels = match (&parts.name, self.levels.checked_sub(1)) {
            (Some(name), None) => return f.write_str(name),
            (Some(name), Some(levels)) => {
                f.write_str(name)?;
                levels
            }
            (None, _) => self.levels,
        };
        f.write_str("(")?;
        for (nth, member) in parts.members.iter().enumerate() {
            f.write_str(if nth == 0 { "" } else { between })?;
            if let Some(name) = &member.name {
                f.write_str(name)?;
                if member.ty.is_unit() {
                    continue;
                }
                f.write_str(": ")?;
            }
            write!(f, "{}", Shown { ty: &member.ty, levels })?;
        }
        f.write_str(")")
    }
}

impl Serialize for Type {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "string",
            Self::Bool => "bool",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::I16 => "i16",
            Self::U16 => "u16",
            Self::I32 => "i32",
            Self::U32 => "u32",
            Self::I64 => "i64",
            Self::U64 => "u64",
            Self::I128 => "i128",
            Self::U128 => "u128",
            Self::I256 => "i256",
            Self::U256 => "u256",
            Self::F32 => "f32",
            Self::F64 => "f64",
        })
    }
}
