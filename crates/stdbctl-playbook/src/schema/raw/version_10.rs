//! Version 10: what bindings of 2.x write, in sections.

use serde::Deserialize;

use super::{
    Bytes, DefaultV9, Nothing, RawAccess, RawConstraint, RawIndex, RawLifecycle, RawProduct, RawSecurity,
    RawSequence, RawTableType, RawType, RawTypeName, RawView, ScheduleV9, Typespace, optional,
};

#[derive(Debug, Deserialize)]
pub(in crate::schema) struct ModuleV10 {
    pub(in crate::schema) sections: Vec<SectionV10>,
}

#[derive(Debug, Deserialize)]
pub(in crate::schema) enum SectionV10 {
    Typespace(Typespace),
    Types(Vec<RawTypeName>),
    Tables(Vec<TableV10>),
    Reducers(Vec<ReducerV10>),
    Procedures(Vec<ProcedureV10>),
    Views(Vec<RawView>),
    Schedules(Vec<ScheduleV10>),
    LifeCycleReducers(Vec<LifecycleV10>),
    RowLevelSecurity(Vec<RawSecurity>),
    CaseConversionPolicy(CasePolicy),
    ExplicitNames(ExplicitNames),
    HttpHandlers(Vec<HttpHandler>),
    HttpRoutes(Vec<HttpRoute>),
    ViewPrimaryKeys(Vec<ViewPrimaryKey>),
    Submodules(Vec<Submodule>),
}

/// The sections above by name: a newer server may answer with more, which is no reason to understand nothing.
pub(in crate::schema) const SECTIONS: [&str; 15] = [
    "Typespace",
    "Types",
    "Tables",
    "Reducers",
    "Procedures",
    "Views",
    "Schedules",
    "LifeCycleReducers",
    "RowLevelSecurity",
    "CaseConversionPolicy",
    "ExplicitNames",
    "HttpHandlers",
    "HttpRoutes",
    "ViewPrimaryKeys",
    "Submodules",
];

#[derive(Debug, Deserialize)]
pub(in crate::schema) struct TableV10 {
    pub(in crate::schema) source_name: String,
    pub(in crate::schema) product_type_ref: u32,
    pub(in crate::schema) primary_key: Vec<u16>,
    pub(in crate::schema) indexes: Vec<RawIndex>,
    pub(in crate::schema) constraints: Vec<RawConstraint>,
    pub(in crate::schema) sequences: Vec<RawSequence>,
    pub(in crate::schema) table_type: RawTableType,
    pub(in crate::schema) table_access: RawAccess,
    pub(in crate::schema) default_values: Vec<DefaultV10>,
    pub(in crate::schema) is_event: bool,
}

#[derive(Debug, Deserialize)]
pub(in crate::schema) struct DefaultV10 {
    pub(in crate::schema) col_id: u16,
    #[serde(rename = "value")]
    _value: Bytes,
}

impl DefaultV9 {
    pub(in crate::schema) fn of_column(&self) -> DefaultV10 {
        DefaultV10 { col_id: self.col_id, _value: Bytes }
    }
}

#[derive(Debug, Deserialize)]
pub(in crate::schema) enum Visibility {
    Private(Nothing),
    ClientCallable(Nothing),
}

#[derive(Debug, Deserialize)]
pub(in crate::schema) struct ReducerV10 {
    pub(in crate::schema) source_name: String,
    pub(in crate::schema) params: RawProduct,
    pub(in crate::schema) visibility: Visibility,
    #[serde(rename = "ok_return_type")]
    _ok: RawType,
    #[serde(rename = "err_return_type")]
    _err: RawType,
}

#[derive(Debug, Deserialize)]
pub(in crate::schema) struct ProcedureV10 {
    pub(in crate::schema) source_name: String,
    pub(in crate::schema) params: RawProduct,
    pub(in crate::schema) return_type: RawType,
    pub(in crate::schema) visibility: Visibility,
}

#[derive(Debug, Deserialize)]
pub(in crate::schema) struct ScheduleV10 {
    #[serde(rename = "source_name", deserialize_with = "optional")]
    _source_name: Option<String>,
    pub(in crate::schema) table_name: String,
    pub(in crate::schema) schedule_at_col: u16,
    pub(in crate::schema) function_name: String,
}

impl ScheduleV9 {
    pub(in crate::schema) fn of_table(self, table: &str) -> ScheduleV10 {
        ScheduleV10 {
            _source_name: None,
            table_name: table.to_owned(),
            schedule_at_col: self.scheduled_at_column,
            function_name: self.reducer_name,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(in crate::schema) struct LifecycleV10 {
    pub(in crate::schema) lifecycle_spec: RawLifecycle,
    pub(in crate::schema) function_name: String,
}

#[derive(Debug, Deserialize)]
pub(in crate::schema) enum CasePolicy {
    None(Nothing),
    SnakeCase(Nothing),
}

#[derive(Debug, Deserialize)]
pub(in crate::schema) struct ExplicitNames {
    pub(in crate::schema) entries: Vec<ExplicitName>,
}

#[derive(Debug, Deserialize)]
pub(in crate::schema) enum ExplicitName {
    Table(NameMapping),
    Function(NameMapping),
    Index(NameMapping),
}

#[derive(Debug, Deserialize)]
pub(in crate::schema) struct NameMapping {
    pub(in crate::schema) source_name: String,
    pub(in crate::schema) canonical_name: String,
}

#[derive(Debug, Deserialize)]
pub(in crate::schema) struct HttpHandler {
    #[serde(rename = "source_name")]
    _source_name: String,
}

#[derive(Debug, Deserialize)]
pub(in crate::schema) struct HttpRoute {
    pub(in crate::schema) handler_function: String,
    pub(in crate::schema) method: HttpMethods,
    pub(in crate::schema) path: String,
}

#[derive(Debug, Deserialize)]
pub(in crate::schema) enum HttpMethods {
    Any(Nothing),
    Method(HttpMethod),
}

#[derive(Debug, Deserialize)]
pub(in crate::schema) enum HttpMethod {
    Get(Nothing),
    Head(Nothing),
    Post(Nothing),
    Put(Nothing),
    Delete(Nothing),
    Connect(Nothing),
    Options(Nothing),
    Trace(Nothing),
    Patch(Nothing),
    Extension(String),
}

#[derive(Debug, Deserialize)]
pub(in crate::schema) struct ViewPrimaryKey {
    #[serde(rename = "view_source_name")]
    _view: String,
    #[serde(rename = "columns")]
    _columns: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(in crate::schema) struct Submodule {
    pub(in crate::schema) namespace: String,
    pub(in crate::schema) module: ModuleV10,
}
