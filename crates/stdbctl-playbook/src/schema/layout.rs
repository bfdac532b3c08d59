//! How many bytes a value takes inside a row, by the server's own arithmetic: changing a type in place is allowed
//! only where this stays the same.

use super::types::{Members, Plain, Type};

/// Size and alignment in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) size: u64,
    pub(crate) align: u64,
}

/// Texts and arrays are kept elsewhere; in the row is where.
const ELSEWHERE: Layout = Layout { size: 4, align: 2 };

impl Layout {
    pub(crate) fn of(ty: &Type) -> Self {
        match ty {
            Type::Plain(plain) => Self::of_plain(*plain),
            Type::Array(_) | Type::Recursive(_) => ELSEWHERE,
            Type::Product(fields) => Self::of_product(fields),
            Type::Sum(variants) => Self::of_sum(variants),
        }
    }

    fn of_plain(plain: Plain) -> Self {
        let size = match plain {
            Plain::String => return ELSEWHERE,
            Plain::Bool | Plain::I8 | Plain::U8 => 1,
            Plain::I16 | Plain::U16 => 2,
            Plain::I32 | Plain::U32 | Plain::F32 => 4,
            Plain::I64 | Plain::U64 | Plain::F64 => 8,
            Plain::I128 | Plain::U128 => 16,
            Plain::I256 | Plain::U256 => 32,
        };
        Self { size, align: size }
    }

    fn of_product(fields: &Members) -> Self {
        let start = Self { size: 0, align: 1 };
        let end = fields.members.iter().map(|field| Self::of(&field.ty)).fold(start, |so_far, field| Self {
            size: aligned(so_far.size, field.align).saturating_add(field.size),
            align: so_far.align.max(field.align),
        });
        Self { size: aligned(end.size, end.align), align: end.align }
    }

    /// The tag takes one unit of alignment, the payload of the largest variant follows.
    pub(crate) fn of_sum(variants: &Members) -> Self {
        let start = Self { size: 0, align: 0 };
        let widest =
            variants.members.iter().map(|variant| Self::of(&variant.ty)).fold(start, |so_far, variant| {
                Self { size: so_far.size.max(variant.size), align: so_far.align.max(variant.align) }
            });
        let align = widest.align.max(1);
        Self { size: align.saturating_add(aligned(widest.size, widest.align)), align }
    }
}

fn aligned(offset: u64, align: u64) -> u64 {
    offset.checked_next_multiple_of(align).unwrap_or(offset)
}
