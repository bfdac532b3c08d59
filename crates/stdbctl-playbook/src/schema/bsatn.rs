//! BSATN, the binary format in which a module describes itself, as a serde format.
//!
//! Integers are little-endian, texts and arrays carry a 32-bit length, a sum is its tag and then its payload, a
//! product is its elements one after the other. The bytes come from a module nobody has looked at yet: every
//! length is held against what is left, and nesting has an end.

use std::fmt;

use serde::Deserialize;
use serde::de::value::U32Deserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

/// Far deeper than any real description; each level costs a few stack frames.
const DEEPEST: usize = 64;

/// Why the bytes are not what they should be, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BsatnError {
    message: String,
    at: Option<usize>,
}

impl fmt::Display for BsatnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "{} at byte {at}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for BsatnError {}

impl de::Error for BsatnError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), at: None }
    }
}

/// Reads one value that fills the bytes to the last.
pub(super) fn read<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, BsatnError> {
    let mut reader = Reader { bytes, at: 0, depth: 0 };
    let value = T::deserialize(&mut reader).map_err(|error| reader.here(error))?;
    match reader.left() {
        0 => Ok(value),
        left => Err(reader.error(format!("{left} bytes too many"))),
    }
}

struct Reader<'de> {
    bytes: &'de [u8],
    at: usize,
    depth: usize,
}

impl<'de> Reader<'de> {
    fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    fn error(&self, message: impl Into<String>) -> BsatnError {
        BsatnError { message: message.into(), at: Some(self.at) }
    }

    /// An error of serde's own knows no place.
    fn here(&self, error: BsatnError) -> BsatnError {
        BsatnError { at: error.at.or(Some(self.at)), ..error }
    }

    fn take(&mut self, length: usize) -> Result<&'de [u8], BsatnError> {
        let end = self.at.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| {
            self.error(format!("it ends {} bytes too early", length.saturating_sub(self.left())))
        })?;
        self.at = self.at.saturating_add(length);
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], BsatnError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.error("it ends too early"))
    }

    fn length(&mut self) -> Result<usize, BsatnError> {
        let length = usize::try_from(u32::from_le_bytes(self.fixed()?));
        length.map_err(|_| self.error("a length is out of range"))
    }

    fn text(&mut self) -> Result<&'de str, BsatnError> {
        let length = self.length()?;
        let taken = self.take(length)?;
        str::from_utf8(taken).map_err(|_| self.error("a text is not UTF-8"))
    }
}

impl<'de> de::Deserializer<'de> for &mut Reader<'de> {
    type Error = BsatnError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, BsatnError> {
        Err(self.error("BSATN does not say what it holds"))
    }

    /// What nobody asks for here is the empty product: the payload of a variant that has none.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BsatnError> {
        visitor.visit_unit()
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BsatnError> {
        match self.fixed::<1>()? {
            [0] => visitor.visit_bool(false),
            [1] => visitor.visit_bool(true),
            [other] => Err(self.error(format!("{other} is neither true nor false"))),
        }
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BsatnError> {
        visitor.visit_u8(u8::from_le_bytes(self.fixed()?))
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BsatnError> {
        visitor.visit_u16(u16::from_le_bytes(self.fixed()?))
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BsatnError> {
        visitor.visit_u32(u32::from_le_bytes(self.fixed()?))
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BsatnError> {
        visitor.visit_i128(i128::from_le_bytes(self.fixed()?))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BsatnError> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BsatnError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BsatnError> {
        let length = self.length()?;
        visitor.visit_borrowed_bytes(self.take(length)?)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, BsatnError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BsatnError> {
        let left = self.length()?;
        // No element here is empty, so that an array cannot have more of them than bytes are left.
        if left > self.left() {
            return Err(self.error(format!("an array of {left} elements does not fit into what is left")));
        }
        visitor.visit_seq(Elements { reader: self, left })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, BsatnError> {
        visitor.visit_seq(Elements { left: fields.len(), reader: self })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, BsatnError> {
        if self.depth >= DEEPEST {
            return Err(self.error(format!("it is nested deeper than {DEEPEST} levels")));
        }
        self.depth = self.depth.saturating_add(1);
        let value = visitor.visit_enum(&mut *self);
        self.depth = self.depth.saturating_sub(1);
        value
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 u64 u128 f32 f64 char bytes option unit unit_struct tuple tuple_struct map identifier
    }
}

struct Elements<'reader, 'de> {
    reader: &'reader mut Reader<'de>,
    left: usize,
}

impl<'de> de::SeqAccess<'de> for Elements<'_, 'de> {
    type Error = BsatnError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, BsatnError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.reader).map(Some)
    }
}

impl<'de> de::EnumAccess<'de> for &mut Reader<'de> {
    type Error = BsatnError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), BsatnError> {
        let [tag] = self.fixed::<1>()?;
        let tag: U32Deserializer<BsatnError> = u32::from(tag).into_deserializer();
        let variant = seed.deserialize(tag).map_err(|error| self.here(error))?;
        Ok((variant, self))
    }
}

impl<'de> de::VariantAccess<'de> for &mut Reader<'de> {
    type Error = BsatnError;

    fn unit_variant(self) -> Result<(), BsatnError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, BsatnError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, BsatnError> {
        Err(self.error("a variant has one payload"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, BsatnError> {
        Err(self.error("a variant has one payload"))
    }
}
