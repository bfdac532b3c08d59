//! The answers to SQL.

use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::value::Cell;

/// What one statement has given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// The rows of a query.
    Rows(Rows),
    /// What a statement has done that changes rows.
    Done(Done),
}

/// The rows of a query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// The names of the columns; those without one are called by their place.
    pub columns: Vec<String>,
    /// The rows, each with a value for each column.
    pub rows: Vec<Vec<Cell>>,
}

/// How many rows a statement has changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Done {
    /// How many are new.
    #[serde(rename(deserialize = "rows_inserted"))]
    pub inserted: u64,
    /// How many are gone.
    #[serde(rename(deserialize = "rows_deleted"))]
    pub deleted: u64,
    /// How many have other values.
    #[serde(rename(deserialize = "rows_updated"))]
    pub updated: u64,
}

#[derive(Deserialize)]
struct Answer<'a> {
    schema: Schema,
    #[serde(borrow)]
    rows: Vec<&'a RawValue>,
    #[serde(default)]
    stats: Done,
}

#[derive(Deserialize)]
struct Schema {
    elements: Vec<Element>,
}

#[derive(Deserialize)]
struct Element {
    name: Value,
    algebraic_type: Value,
}

impl Given {
    /// Reads the body of an answer: one result for each statement that was in it.
    ///
    /// # Errors
    /// If it is not what an answer to SQL looks like.
    pub fn read(body: &str) -> Result<Vec<Self>, serde_json::Error> {
        let answers: Vec<Answer<'_>> = serde_json::from_str(body)?;
        answers.into_iter().map(Self::of).collect()
    }

    fn of(answer: Answer<'_>) -> Result<Self, serde_json::Error> {
        let Answer { schema: Schema { elements }, rows, stats } = answer;
        if elements.is_empty() && rows.is_empty() {
            return Ok(Self::Done(stats));
        }
        let cells = |row: &RawValue| {
            let values: Vec<&RawValue> = serde_json::from_str(row.get())?;
            Ok(elements
                .iter()
                .zip(values)
                .map(|(element, value)| Cell::read(&element.algebraic_type, value))
                .collect())
        };
        let rows = rows.into_iter().map(cells).collect::<Result<_, serde_json::Error>>()?;
        let columns = elements.iter().enumerate().map(|(index, element)| {
            let name = element.name.get("some").unwrap_or(&element.name).as_str();
            name.map_or_else(|| index.to_string(), str::to_owned)
        });
        Ok(Self::Rows(Rows { columns: columns.collect(), rows }))
    }
}

/// For programs: rows as an array of objects, anything else as what was done.
impl Serialize for Given {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Done(done) => done.serialize(serializer),
            Self::Rows(Rows { columns, rows }) => {
                serializer.collect_seq(rows.iter().map(|cells| Row { columns, cells }))
            }
        }
    }
}

struct Row<'a> {
    columns: &'a [String],
    cells: &'a [Cell],
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.cells.len()))?;
        self.columns.iter().zip(self.cells).try_for_each(|(name, cell)| map.serialize_entry(name, cell))?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEOPLE: &str = r#"[{"schema":{"elements":[{"name":{"some":"id"},"algebraic_type":{"U64":[]}},{"name":{"none":[]},"algebraic_type":{"String":[]}}]},"rows":[[18446744073709551615,"first"],[2,"zwei"]],"total_duration_micros":452,"stats":{"rows_inserted":0,"rows_deleted":0,"rows_updated":0}}]"#;

    #[test]
    fn rows_have_the_columns_of_the_schema() {
        let given = Given::read(PEOPLE).unwrap();
        let [Given::Rows(rows)] = given.as_slice() else { panic!("{given:?}") };
        assert_eq!(rows.columns, ["id", "1"]);
        assert_eq!(rows.rows[1], [Cell::Number("2".to_owned()), Cell::Text("zwei".to_owned())]);
        assert_eq!(
            serde_json::to_string(&given[0]).unwrap(),
            r#"[{"id":18446744073709551615,"1":"first"},{"id":2,"1":"zwei"}]"#
        );
    }

    #[test]
    fn what_changes_rows_says_how_many() {
        let answer = r#"[{"schema":{"elements":[]},"rows":[],"total_duration_micros":1,"stats":{"rows_inserted":1,"rows_deleted":0,"rows_updated":3}}]"#;
        let done = Given::Done(Done { inserted: 1, deleted: 0, updated: 3 });
        assert_eq!(Given::read(answer).unwrap(), std::slice::from_ref(&done));
        assert_eq!(serde_json::to_string(&done).unwrap(), r#"{"inserted":1,"deleted":0,"updated":3}"#);
    }

    #[test]
    fn a_query_without_rows_still_has_columns() {
        let answer =
            r#"[{"schema":{"elements":[{"name":{"some":"id"},"algebraic_type":{"U64":[]}}]},"rows":[]}]"#;
        let rows = Rows { columns: vec!["id".to_owned()], rows: Vec::new() };
        assert_eq!(Given::read(answer).unwrap(), [Given::Rows(rows)]);
    }

    #[test]
    fn what_is_no_answer_to_sql_is_an_error() {
        for body in ["", "{}", "[1]", r#"[{"schema":{"elements":[]},"rows":[1]}]"#, "oops"] {
            assert!(Given::read(body).is_err(), "{body}");
        }
    }
}
