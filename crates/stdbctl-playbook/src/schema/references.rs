//! The types a description refers to by number, and what they stand for.

use std::collections::BTreeMap;

use super::raw::{RawMember, RawType, RawTypeName};
use super::types::{Member, Members, Plain, Type};
use super::{NamedType, SchemaError};

/// Parts of types a description may have in all, references followed: a hundred references to one another can
/// stand for more than any memory holds.
const MOST_PARTS: usize = 200_000;

/// Parts within parts; each level costs stack here and wherever the type is looked at.
const DEEPEST: usize = 100;

pub(super) struct References {
    types: Vec<RawType>,
    names: BTreeMap<u32, String>,
    /// Parts that may still be resolved.
    left: usize,
}

impl References {
    pub(super) fn new(types: Vec<RawType>, names: &[RawTypeName]) -> Self {
        let names = names.iter().map(|named| (named.ty, scoped(named))).collect();
        Self { types, names, left: MOST_PARTS }
    }

    pub(super) fn named(&mut self, names: &[RawTypeName]) -> Result<Vec<NamedType>, SchemaError> {
        let mut types = Vec::new();
        for named in names {
            let definition = self.resolve(&RawType::Ref(named.ty))?.spelled_out();
            types.push(NamedType { name: scoped(named), definition });
        }
        Ok(types)
    }

    pub(super) fn resolve(&mut self, ty: &RawType) -> Result<Type, SchemaError> {
        let mut walk = Walk { types: &self.types, names: &self.names, left: self.left, path: Vec::new() };
        let resolved = walk.resolve(ty, None, DEEPEST);
        self.left = walk.left;
        resolved
    }
}

struct Walk<'types> {
    types: &'types [RawType],
    names: &'types BTreeMap<u32, String>,
    left: usize,
    /// The references being followed: one that comes again is a recursive type.
    path: Vec<u32>,
}

impl Walk<'_> {
    fn resolve(&mut self, ty: &RawType, name: Option<&String>, levels: usize) -> Result<Type, SchemaError> {
        self.left = self.left.checked_sub(1).ok_or(SchemaError::TooLarge)?;
        let levels = levels.checked_sub(1).ok_or(SchemaError::TooLarge)?;
        Ok(match ty {
            RawType::Sum(sum) => Type::Sum(self.members(&sum.variants, name, levels)?),
            RawType::Product(product) => Type::Product(self.members(&product.elements, name, levels)?),
            RawType::Array(element) => Type::Array(Box::new(self.resolve(element, None, levels)?)),
            RawType::Ref(number) => self.follow(*number, levels)?,
            plain => Type::Plain(plain_type(plain)),
        })
    }

    fn members(
        &mut self,
        raw: &[RawMember],
        name: Option<&String>,
        levels: usize,
    ) -> Result<Members, SchemaError> {
        let mut members = Vec::new();
        for member in raw {
            let ty = self.resolve(&member.algebraic_type, None, levels)?;
            members.push(Member { name: member.name.clone(), ty });
        }
        Ok(Members { name: name.cloned(), members })
    }

    fn follow(&mut self, number: u32, levels: usize) -> Result<Type, SchemaError> {
        let name = self.names.get(&number);
        if self.path.contains(&number) {
            return Ok(Type::Recursive(name.cloned().unwrap_or_else(|| format!("type {number}"))));
        }
        let referred = usize::try_from(number).ok().and_then(|number| self.types.get(number));
        let referred =
            referred.ok_or_else(|| SchemaError::Broken(format!("there is no type number {number}")))?;
        self.path.push(number);
        let resolved = self.resolve(referred, name, levels);
        self.path.pop();
        resolved
    }
}

fn plain_type(ty: &RawType) -> Plain {
    match ty {
        RawType::Bool(_) => Plain::Bool,
        RawType::I8(_) => Plain::I8,
        RawType::U8(_) => Plain::U8,
        RawType::I16(_) => Plain::I16,
        RawType::U16(_) => Plain::U16,
        RawType::I32(_) => Plain::I32,
        RawType::U32(_) => Plain::U32,
        RawType::I64(_) => Plain::I64,
        RawType::U64(_) => Plain::U64,
        RawType::I128(_) => Plain::I128,
        RawType::U128(_) => Plain::U128,
        RawType::I256(_) => Plain::I256,
        RawType::U256(_) => Plain::U256,
        RawType::F32(_) => Plain::F32,
        RawType::F64(_) => Plain::F64,
        RawType::String(_) | RawType::Ref(_) | RawType::Sum(_) | RawType::Product(_) | RawType::Array(_) => {
            Plain::String
        }
    }
}

fn scoped(named: &RawTypeName) -> String {
    let scope = named.name.scope.iter().chain([&named.name.name]);
    scope.map(String::as_str).collect::<Vec<_>>().join("::")
}
