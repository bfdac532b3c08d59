//! Version 9: what bindings of 1.x write, and every server answers.

use serde::Deserialize;

use super::{
    Bytes, RawAccess, RawConstraint, RawIndex, RawLifecycle, RawProduct, RawSecurity, RawSequence,
    RawTableType, RawType, RawTypeName, RawView, Typespace, optional,
};

#[derive(Debug, Deserialize)]
pub(in crate::schema) struct ModuleV9 {
    pub(in crate::schema) typespace: Typespace,
    pub(in crate::schema) tables: Vec<TableV9>,
    pub(in crate::schema) reducers: Vec<ReducerV9>,
    pub(in crate::schema) types: Vec<RawTypeName>,
    pub(in crate::schema) misc_exports: Vec<ExportV9>,
    pub(in crate::schema) row_level_security: Vec<RawSecurity>,
}

#[derive(Debug, Deserialize)]
pub(in crate::schema) struct TableV9 {
    pub(in crate::schema) name: String,
    pub(in crate::schema) product_type_ref: u32,
    pub(in crate::schema) primary_key: Vec<u16>,
    pub(in crate::schema) indexes: Vec<RawIndex>,
    pub(in crate::schema) constraints: Vec<RawConstraint>,
    pub(in crate::schema) sequences: Vec<RawSequence>,
    #[serde(deserialize_with = "optional")]
    pub(in crate::schema) schedule: Option<ScheduleV9>,
    pub(in crate::schema) table_type: RawTableType,
    pub(in crate::schema) table_access: RawAccess,
}

#[derive(Debug, Deserialize)]
pub(in crate::schema) struct ScheduleV9 {
    #[serde(rename = "name", deserialize_with = "optional")]
    _name: Option<String>,
    pub(super) reducer_name: String,
    pub(super) scheduled_at_column: u16,
}

#[derive(Debug, Deserialize)]
pub(in crate::schema) struct ReducerV9 {
    pub(in crate::schema) name: String,
    pub(in crate::schema) params: RawProduct,
    #[serde(deserialize_with = "optional")]
    pub(in crate::schema) lifecycle: Option<RawLifecycle>,
}

#[derive(Debug, Deserialize)]
pub(in crate::schema) enum ExportV9 {
    ColumnDefaultValue(DefaultV9),
    Procedure(ProcedureV9),
    View(RawView),
}

#[derive(Debug, Deserialize)]
pub(in crate::schema) struct DefaultV9 {
    pub(in crate::schema) table: String,
    pub(in crate::schema) col_id: u16,
    #[serde(rename = "value")]
    _value: Bytes,
}

#[derive(Debug, Deserialize)]
pub(in crate::schema) struct ProcedureV9 {
    pub(in crate::schema) name: String,
    pub(in crate::schema) params: RawProduct,
    pub(in crate::schema) return_type: RawType,
}
