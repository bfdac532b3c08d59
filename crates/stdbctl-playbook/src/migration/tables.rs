//! Tables, and what a server does to them by itself: the rules of its own `auto_migrate`.

use super::upgrade::{Upgrade, upgrade};
use super::{Difference, Pair, Rules, Severity, Subject, paired};
use crate::schema::{Access, Column, Index, Sequence, Table, Unique};

use Severity::{BreaksClients, Compatible, Manual};

const BY_HAND: &str =
    "the server cannot do this by itself: it needs a manual migration, or the data has to go";

pub(super) fn compare(old: &[Table], new: &[Table], rules: Rules) -> Vec<Difference> {
    let mut differences = Vec::new();
    for pair in paired(old, new, |table| &table.name) {
        match pair {
            Pair::Added(new) => differences.push(added(new)),
            Pair::Removed(old) => differences.push(removed(old, rules)),
            Pair::Both(old, new) => Comparison { old, new, rules, differences: &mut differences }.compare(),
        }
    }
    differences
}

/// Its indexes and constraints come with it.
fn added(table: &Table) -> Difference {
    let columns: Vec<String> =
        table.columns.iter().map(|column| format!("{} {}", column.name, column.ty)).collect();
    let what = format!("table {} added ({}): {}", table.name, access(table.access), columns.join(", "));
    let mut added = Difference::new(Subject::Table, &table.name, Compatible, what);
    added.details.extend(table.primary_key.iter().map(|column| format!("primary key {column}")));
    let others = table.unique.iter().filter(|unique| !is_primary_key(table, unique));
    added.details.extend(others.map(|unique| format!("unique {}", unique.columns.join(", "))));
    added.details.extend(table.indexes.iter().map(described_index));
    added.details.extend(table.sequences.iter().map(|sequence| format!("auto_inc {}", sequence.column)));
    added.details.extend(table.schedule.iter().map(|schedule| format!("calls {}", schedule.function)));
    added
}

fn removed(table: &Table, rules: Rules) -> Difference {
    let what = format!("table {} removed", table.name);
    if rules == Rules::V2 {
        let condition = "the server refuses it while the table has rows";
        return Difference::new(Subject::Table, &table.name, BreaksClients, what).with(condition);
    }
    Difference::new(Subject::Table, &table.name, Manual, what).with(BY_HAND)
}

fn is_primary_key(table: &Table, unique: &Unique) -> bool {
    table.primary_key.as_ref().is_some_and(|key| unique.columns == [key.clone()])
}

fn described_index(index: &Index) -> String {
    format!("{} index on {}", index.algorithm, index.columns.join(", "))
}

fn access(access: Access) -> &'static str {
    match access {
        Access::Public => "public",
        Access::Private => "private",
    }
}

/// A table that is in both modules.
struct Comparison<'table> {
    old: &'table Table,
    new: &'table Table,
    rules: Rules,
    differences: &'table mut Vec<Difference>,
}

impl Comparison<'_> {
    fn compare(mut self) {
        self.kind();
        self.access();
        self.columns();
        self.primary_key();
        self.unique();
        self.indexes();
        self.sequences();
        self.schedule();
    }

    fn report(&mut self, severity: Severity, what: impl AsRef<str>) {
        self.report_with(severity, what, Vec::new());
    }

    fn report_with(&mut self, severity: Severity, what: impl AsRef<str>, details: Vec<String>) {
        let mut difference = Difference::new(Subject::Table, &self.old.name, severity, what);
        if severity == Manual {
            difference = difference.with(BY_HAND);
        }
        self.differences.push(details.into_iter().fold(difference, Difference::with));
    }

    fn kind(&mut self) {
        let name = &self.old.name;
        if self.old.system != self.new.system {
            self.report(Manual, format!("table {name} changes between a system's and a user's"));
        }
        if self.old.event != self.new.event {
            let becomes = if self.new.event { "an event table" } else { "an ordinary table" };
            self.report(Manual, format!("table {name} becomes {becomes}"));
        }
    }

    fn access(&mut self) {
        let name = &self.old.name;
        match (self.old.access, self.new.access) {
            (Access::Public, Access::Private) => {
                self.report(BreaksClients, format!("table {name} made private"));
            }
            (Access::Private, Access::Public) => {
                self.report(Compatible, format!("table {name} made public"));
            }
            _ => {}
        }
    }

    /// Rows of an event table do not outlive a transaction: 2.x gives it any columns.
    fn is_rowless(&self) -> bool {
        self.rules == Rules::V2 && self.old.event && self.new.event
    }

    fn columns(&mut self) {
        let (old, new) = (self.old, self.new);
        let mut moved = false;
        for (nth, column) in old.columns.iter().enumerate() {
            match new.columns.iter().enumerate().find(|(_, other)| other.name == column.name) {
                None => {
                    let severity = if self.is_rowless() { BreaksClients } else { Manual };
                    self.report(severity, format!("column {}.{} removed", old.name, column.name));
                }
                Some((now, other)) => {
                    moved |= now != nth;
                    self.column_type(column, other);
                }
            }
        }
        for column in new.columns.iter().filter(|column| old.column(&column.name).is_none()) {
            self.added_column(column);
        }
        if moved {
            let severity = if self.is_rowless() { BreaksClients } else { Manual };
            self.report(severity, format!("columns of table {} are in another order", old.name));
        }
    }

    fn added_column(&mut self, column: &Column) {
        let allows_default = self.rules.allows_columns_with_default();
        let possible = self.is_rowless() || (allows_default && column.has_default);
        let severity = if possible { BreaksClients } else { Manual };
        let may_have_default = allows_default && !possible;
        let what = format!("column {}.{} added: {}", self.new.name, column.name, column.ty);
        let hint = may_have_default.then(|| "with a default value the server could add it".to_owned());
        self.report_with(severity, what, hint.into_iter().collect());
    }

    fn column_type(&mut self, old: &Column, new: &Column) {
        let same = old.ty.has_shape_of(&new.ty);
        let upgrade = match upgrade(&old.ty, &new.ty) {
            _ if same => return,
            _ if self.is_rowless() => Upgrade::Grows,
            _ if self.rules == Rules::V1Strict => Upgrade::Refused(Vec::new()),
            upgrade => upgrade,
        };
        let name = format!("column {}.{}", self.old.name, old.name);
        let (from, to) = old.ty.apart(&new.ty);
        let what = format!("{name} changes its type from {from} to {to}");
        match upgrade {
            Upgrade::Refused(reasons) => {
                self.report_with(Manual, what, reasons.into_iter().map(str::to_owned).collect());
            }
            Upgrade::Grows | Upgrade::Same => self.report(BreaksClients, what),
        }
    }

    /// Clients keep the rows they see by it.
    fn primary_key(&mut self) {
        let table = &self.old.name;
        let (severity, what) = match (&self.old.primary_key, &self.new.primary_key) {
            (None, None) => return,
            (Some(old), Some(new)) if old == new => return,
            (None, Some(new)) => (Compatible, format!("table {table} gets the primary key {new}")),
            (Some(old), None) => (BreaksClients, format!("table {table} loses its primary key {old}")),
            (Some(old), Some(new)) => {
                (BreaksClients, format!("primary key of table {table} is {new} instead of {old}"))
            }
        };
        if self.rules == Rules::V2 {
            self.report(severity, what);
        } else {
            let trap = "servers of 1.x take such a module, and then refuse every one after it";
            self.report_with(Manual, what, vec![trap.to_owned()]);
        }
    }

    fn unique(&mut self) {
        let (old, new) = (&self.old.unique, &self.new.unique);
        let table = &self.old.name;
        for pair in paired(old, new, |unique| &unique.name) {
            match pair {
                Pair::Removed(old) => {
                    let columns = old.columns.join(", ");
                    self.report(Compatible, format!("unique constraint on {table} ({columns}) removed"));
                }
                Pair::Added(new) => {
                    let what = format!("unique constraint on {table} ({}) added", new.columns.join(", "));
                    if self.rules == Rules::V2 {
                        let condition =
                            "servers before 2.7.1 refuse it, later ones where rows have equal values";
                        self.report_with(Compatible, what, vec![condition.to_owned()]);
                    } else {
                        self.report(Manual, what);
                    }
                }
                Pair::Both(old, new) if old == new => {}
                Pair::Both(old, new) => {
                    let (old, new) = (old.columns.join(", "), new.columns.join(", "));
                    let what = format!("unique constraint on {table} is on ({new}) instead of ({old})");
                    self.report(Manual, what);
                }
            }
        }
    }

    fn indexes(&mut self) {
        let (old, new) = (&self.old.indexes, &self.new.indexes);
        let table = &self.old.name;
        for pair in paired(old, new, |index| &index.name) {
            match pair {
                Pair::Removed(old) => {
                    self.report(Compatible, format!("{} of table {table} removed", described_index(old)));
                }
                Pair::Added(new) => {
                    self.report(Compatible, format!("{} of table {table} added", described_index(new)));
                }
                Pair::Both(old, new) if old.accessor != new.accessor => {
                    let what = format!("index {} of table {table} has another accessor name", old.name);
                    let none = || "none".to_owned();
                    let from = old.accessor.clone().unwrap_or_else(none);
                    let to = new.accessor.clone().unwrap_or_else(none);
                    self.report_with(Manual, what, vec![format!("{from} becomes {to}")]);
                }
                Pair::Both(old, new) if old == new => {}
                Pair::Both(old, new) => {
                    let what = format!("index {} of table {table} is made anew", old.name);
                    let change = format!("{} becomes {}", described_index(old), described_index(new));
                    self.report_with(Compatible, what, vec![change]);
                }
            }
        }
    }

    fn sequences(&mut self) {
        let (old, new) = (&self.old.sequences, &self.new.sequences);
        let table = &self.old.name;
        for pair in paired(old, new, |sequence| &sequence.name) {
            let (sequence, how) = match pair {
                Pair::Both(old, new) if old == new => continue,
                Pair::Removed(old) => (old, "is no longer auto_inc"),
                Pair::Added(new) => (new, "becomes auto_inc"),
                Pair::Both(_, new) => (new, "is numbered differently"),
            };
            let what = format!("column {table}.{} {how}", sequence.column);
            if !new.contains(sequence) {
                self.report(Compatible, what);
            } else if self.rules != Rules::V2 && self.is_indexed(&sequence.column) {
                let crash = "servers of 1.x crash when they look for its values in the column's index";
                self.report_with(Manual, what, vec![crash.to_owned()]);
            } else {
                self.report_with(Compatible, what, vec![condition_of(sequence)]);
            }
        }
    }

    /// Whether rows are found by this column alone, as long as nothing has changed yet.
    fn is_indexed(&self, column: &str) -> bool {
        self.old.indexes.iter().any(|index| index.columns == [column])
    }

    fn schedule(&mut self) {
        let table = &self.old.name;
        // Every server plans this, 2.8.3 too, and finds while it migrates that it is not implemented.
        match (&self.old.schedule, &self.new.schedule) {
            (old, new) if old == new => {}
            (_, None) => {
                self.report(Manual, format!("table {table} no longer has a schedule"));
            }
            (_, Some(new)) => {
                self.report(Manual, format!("the schedule of table {table} calls {}", new.function));
            }
        }
    }
}

/// The server looks before it numbers a column.
fn condition_of(sequence: &Sequence) -> String {
    let from = sequence.min.unwrap_or(1);
    format!("the server refuses it where rows have a value of {from} or more in this column")
}
