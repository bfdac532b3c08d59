//! Descriptions of a module as they travel: versions 9 and 10, the same in BSATN (from the module) and in JSON
//! (from the server). In BSATN the order of the fields and variants is the format.

mod version_10;
mod version_9;

use std::fmt;

use serde::de::{IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};

pub(super) use self::version_9::*;
pub(super) use self::version_10::*;

/// A sum's payload where there is nothing to say.
pub(super) type Nothing = IgnoredAny;

#[derive(Debug, Deserialize)]
pub(super) struct Typespace {
    pub(super) types: Vec<RawType>,
}

#[derive(Debug, Deserialize)]
pub(super) enum RawType {
    Ref(u32),
    Sum(RawSum),
    Product(RawProduct),
    Array(Box<RawType>),
    String(Nothing),
    Bool(Nothing),
    I8(Nothing),
    U8(Nothing),
    I16(Nothing),
    U16(Nothing),
    I32(Nothing),
    U32(Nothing),
    I64(Nothing),
    U64(Nothing),
    I128(Nothing),
    U128(Nothing),
    I256(Nothing),
    U256(Nothing),
    F32(Nothing),
    F64(Nothing),
}

#[derive(Debug, Deserialize)]
pub(super) struct RawSum {
    pub(super) variants: Vec<RawMember>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawProduct {
    pub(super) elements: Vec<RawMember>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawMember {
    #[serde(deserialize_with = "optional")]
    pub(super) name: Option<String>,
    pub(super) algebraic_type: RawType,
}

#[derive(Debug, Deserialize)]
pub(super) enum RawAccess {
    Public(Nothing),
    Private(Nothing),
}

#[derive(Debug, Deserialize)]
pub(super) enum RawTableType {
    System(Nothing),
    User(Nothing),
}

#[derive(Debug, Deserialize)]
pub(super) enum RawLifecycle {
    Init(Nothing),
    OnConnect(Nothing),
    OnDisconnect(Nothing),
}

#[derive(Debug, Deserialize)]
pub(super) enum RawAlgorithm {
    BTree(Vec<u16>),
    Hash(Vec<u16>),
    Direct(u16),
}

#[derive(Debug, Deserialize)]
pub(super) struct RawIndex {
    #[serde(alias = "source_name", deserialize_with = "optional")]
    pub(super) name: Option<String>,
    #[serde(deserialize_with = "optional")]
    pub(super) accessor_name: Option<String>,
    pub(super) algorithm: RawAlgorithm,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawConstraint {
    #[serde(alias = "source_name", deserialize_with = "optional")]
    pub(super) name: Option<String>,
    pub(super) data: RawConstraintData,
}

#[derive(Debug, Deserialize)]
pub(super) enum RawConstraintData {
    Unique(RawUnique),
}

#[derive(Debug, Deserialize)]
pub(super) struct RawUnique {
    pub(super) columns: Vec<u16>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawSequence {
    #[serde(alias = "source_name", deserialize_with = "optional")]
    pub(super) name: Option<String>,
    pub(super) column: u16,
    #[serde(deserialize_with = "optional")]
    pub(super) start: Option<Wide>,
    #[serde(deserialize_with = "optional")]
    pub(super) min_value: Option<Wide>,
    #[serde(deserialize_with = "optional")]
    pub(super) max_value: Option<Wide>,
    pub(super) increment: Wide,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawScopedName {
    pub(super) scope: Vec<String>,
    #[serde(alias = "source_name")]
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawTypeName {
    #[serde(alias = "source_name")]
    pub(super) name: RawScopedName,
    pub(super) ty: u32,
    #[serde(rename = "custom_ordering")]
    _custom_ordering: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawSecurity {
    pub(super) sql: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawView {
    #[serde(alias = "source_name")]
    pub(super) name: String,
    #[serde(rename = "index")]
    _index: u32,
    pub(super) is_public: bool,
    pub(super) is_anonymous: bool,
    pub(super) params: RawProduct,
    pub(super) return_type: RawType,
}

#[derive(Deserialize)]
enum Opt<T> {
    #[serde(rename = "some")]
    Some(T),
    #[serde(rename = "none")]
    None(Nothing),
}

fn optional<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    Ok(match Opt::deserialize(from)? {
        Opt::Some(value) => Some(value),
        Opt::None(_) => None,
    })
}

/// A number of 128 bits: whole in BSATN, in JSON rounded by the reader once 64 bits are not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wide(pub(super) i128);

impl<'de> Deserialize<'de> for Wide {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Wide;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_i64<E>(self, number: i64) -> Result<Wide, E> {
                Ok(Wide(number.into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Wide, E> {
                Ok(Wide(number.into()))
            }

            fn visit_i128<E>(self, number: i128) -> Result<Wide, E> {
                Ok(Wide(number))
            }

            #[expect(
                clippy::cast_possible_truncation,
                reason = "out of range it saturates, which is near enough"
            )]
            fn visit_f64<E>(self, number: f64) -> Result<Wide, E> {
                Ok(Wide(number as i128))
            }
        }
        from.deserialize_i128(Number)
    }
}

/// Bytes nobody looks at: an array in BSATN, a text or an array in JSON.
#[derive(Debug)]
pub(super) struct Bytes;

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, _: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes)
            }

            fn visit_str<E>(self, _: &str) -> Result<Bytes, E> {
                Ok(Bytes)
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut elements: A) -> Result<Bytes, A::Error> {
                while elements.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Bytes)
            }
        }
        from.deserialize_byte_buf(Any)
    }
}
