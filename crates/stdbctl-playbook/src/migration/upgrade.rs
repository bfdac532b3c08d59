//! Whether a column's type may change in place: what a server of 1.3 and later checks before it does so.

use crate::schema::{Layout, Members, Type};

/// How one type relates to the one that takes its place.
pub(super) enum Upgrade {
    /// Nothing changes.
    Same,
    /// The rows stay as they are, more values are possible.
    Grows,
    /// The server refuses it, for these reasons.
    Refused(Vec<&'static str>),
}

pub(super) fn upgrade(old: &Type, new: &Type) -> Upgrade {
    let mut change = Change::default();
    change.look(old, new);
    match (change.refused.is_empty(), change.grows) {
        (false, _) => Upgrade::Refused(change.refused),
        (true, true) => Upgrade::Grows,
        (true, false) => Upgrade::Same,
    }
}

#[derive(Default)]
struct Change {
    grows: bool,
    refused: Vec<&'static str>,
}

impl Change {
    fn ensure(&mut self, holds: bool, otherwise: &'static str) {
        if !holds && !self.refused.contains(&otherwise) {
            self.refused.push(otherwise);
        }
    }

    fn look(&mut self, old: &Type, new: &Type) {
        match (old, new) {
            (Type::Sum(old), Type::Sum(new)) => {
                self.grows |= new.members.len() > old.members.len();
                self.ensure(new.members.len() >= old.members.len(), "it has fewer variants");
                self.look_inside(old, new, "a variant has another name");
                let (old, new) = (Layout::of_sum(old), Layout::of_sum(new));
                self.ensure(old.size == new.size, "its size in memory is another");
                self.ensure(old.align == new.align, "its alignment in memory is another");
            }
            (Type::Product(old), Type::Product(new)) => {
                self.ensure(old.members.len() == new.members.len(), "it has another number of fields");
                self.look_inside(old, new, "a field has another name");
            }
            (Type::Array(old), Type::Array(new)) => self.look(old, new),
            _ => self.ensure(old.has_shape_of(new), "it is another type"),
        }
    }

    fn look_inside(&mut self, old: &Members, new: &Members, renamed: &'static str) {
        for (old, new) in old.members.iter().zip(&new.members) {
            self.look(&old.ty, &new.ty);
            self.ensure(old.name == new.name, renamed);
        }
    }
}
