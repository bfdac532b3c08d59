//! From descriptions as they travel to a [`Definition`].

use std::collections::{BTreeMap, BTreeSet};

use super::names::{self, Naming};
use super::raw::{
    DefaultV9, ExportV9, HttpMethod, HttpMethods, HttpRoute, ModuleV9, ModuleV10, RawAccess, RawAlgorithm,
    RawConstraint, RawConstraintData, RawIndex, RawLifecycle, RawProduct, RawSequence, RawTableType, RawType,
    RawTypeName, RawView, ScheduleV10, SectionV10, Submodule, TableV10, Visibility,
};
use super::references::References;
use super::types::Type;
use super::{
    Access, Column, Definition, Index, Lifecycle, Param, Procedure, Reducer, Route, Schedule, SchemaError,
    Sequence, Table, Unique, View,
};

/// Who wrote a description of version 10.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// The module: names are the source's.
    Module,
    /// The server: names are the database's.
    Server,
}

type Read<T> = Result<T, SchemaError>;

fn broken<T>(why: impl Into<String>) -> Read<T> {
    Err(SchemaError::Broken(why.into()))
}

pub(super) fn version_9(module: ModuleV9) -> Read<Definition> {
    let mut types = References::new(module.typespace.types, &module.types);
    let mut reader = Reader { types: &mut types, naming: Naming::default(), keep_names: true };
    let mut definition = Definition::default();
    let mut schedules = Vec::new();
    let mut defaults = Vec::new();

    for export in module.misc_exports {
        match export {
            ExportV9::ColumnDefaultValue(default) => defaults.push(default),
            ExportV9::View(view) => definition.views.push(reader.view(&view)?),
            ExportV9::Procedure(procedure) => definition.procedures.push(Procedure {
                params: reader.params(&procedure.params)?,
                returns: reader.types.resolve(&procedure.return_type)?,
                name: procedure.name,
                callable: true,
            }),
        }
    }
    for reducer in module.reducers {
        definition.reducers.push(Reducer {
            params: reader.params(&reducer.params)?,
            lifecycle: reducer.lifecycle.as_ref().map(lifecycle),
            name: reducer.name,
            callable: true,
        });
    }
    for table in module.tables {
        if let Some(schedule) = table.schedule {
            schedules.push(schedule.of_table(&table.name));
        }
        let columns = defaults.iter().filter(|default| default.table == table.name);
        let table = TableV10 {
            default_values: columns.map(DefaultV9::of_column).collect(),
            source_name: table.name,
            product_type_ref: table.product_type_ref,
            primary_key: table.primary_key,
            indexes: table.indexes,
            constraints: table.constraints,
            sequences: table.sequences,
            table_type: table.table_type,
            table_access: table.table_access,
            is_event: false,
        };
        definition.tables.push(reader.table(table)?);
    }
    reader.attach_schedules(&mut definition, schedules)?;
    definition.row_level_security = module.row_level_security.into_iter().map(|rule| rule.sql).collect();
    definition.types = reader.types.named(&module.types)?;
    Ok(finished(definition))
}

pub(super) fn version_10(module: ModuleV10, from: From) -> Read<Definition> {
    let mut sections = Sections::default();
    for section in module.sections {
        sections.take(section);
    }
    let naming = match from {
        From::Module => Naming::of_module(sections.policy.as_ref(), sections.explicit.take()),
        From::Server => Naming::of_server(sections.explicit.take()),
    };
    for ty in &mut sections.typespace {
        naming.convert_type(ty);
    }
    let mut types = References::new(sections.typespace, &sections.types);
    let mut reader = Reader { types: &mut types, naming, keep_names: false };
    let mut definition = Definition::default();

    let mut lifecycles = BTreeMap::new();
    for role in sections.lifecycles {
        lifecycles.insert(reader.naming.function(&role.function_name), lifecycle(&role.lifecycle_spec));
    }
    for reducer in sections.reducers {
        let name = reader.naming.function(&reducer.source_name);
        definition.reducers.push(Reducer {
            params: reader.params(&reducer.params)?,
            lifecycle: lifecycles.get(&name).copied(),
            name,
            callable: is_callable(&reducer.visibility),
        });
    }
    for procedure in sections.procedures {
        definition.procedures.push(Procedure {
            name: reader.naming.function(&procedure.source_name),
            params: reader.params(&procedure.params)?,
            returns: reader.types.resolve(&procedure.return_type)?,
            callable: is_callable(&procedure.visibility),
        });
    }
    for view in sections.views {
        definition.views.push(reader.view(&view)?);
    }
    for table in sections.tables {
        definition.tables.push(reader.table(table)?);
    }
    reader.attach_schedules(&mut definition, sections.schedules)?;
    definition.routes = sections.routes.into_iter().map(route).collect();
    definition.row_level_security = sections.security;
    definition.types = reader.types.named(&sections.types)?;
    for submodule in sections.submodules {
        let inner = version_10(submodule.module, from)?;
        include(&mut definition, &submodule.namespace, inner);
    }
    Ok(finished(definition))
}

#[derive(Default)]
struct Sections {
    typespace: Vec<RawType>,
    types: Vec<RawTypeName>,
    tables: Vec<TableV10>,
    reducers: Vec<super::raw::ReducerV10>,
    procedures: Vec<super::raw::ProcedureV10>,
    views: Vec<RawView>,
    schedules: Vec<ScheduleV10>,
    lifecycles: Vec<super::raw::LifecycleV10>,
    security: Vec<String>,
    policy: Option<super::raw::CasePolicy>,
    explicit: Option<super::raw::ExplicitNames>,
    routes: Vec<HttpRoute>,
    submodules: Vec<Submodule>,
}

impl Sections {
    fn take(&mut self, section: SectionV10) {
        match section {
            SectionV10::Typespace(typespace) => self.typespace = typespace.types,
            SectionV10::Types(types) => self.types = types,
            SectionV10::Tables(tables) => self.tables = tables,
            SectionV10::Reducers(reducers) => self.reducers = reducers,
            SectionV10::Procedures(procedures) => self.procedures = procedures,
            SectionV10::Views(views) => self.views = views,
            SectionV10::Schedules(schedules) => self.schedules = schedules,
            SectionV10::LifeCycleReducers(lifecycles) => self.lifecycles = lifecycles,
            SectionV10::RowLevelSecurity(rules) => {
                self.security = rules.into_iter().map(|rule| rule.sql).collect();
            }
            SectionV10::CaseConversionPolicy(policy) => self.policy = Some(policy),
            SectionV10::ExplicitNames(names) => self.explicit = Some(names),
            SectionV10::HttpRoutes(routes) => self.routes = routes,
            SectionV10::Submodules(submodules) => self.submodules = submodules,
            SectionV10::HttpHandlers(handlers) => drop(handlers),
            SectionV10::ViewPrimaryKeys(keys) => drop(keys),
        }
    }
}

struct Reader<'types> {
    types: &'types mut References,
    naming: Naming,
    /// Version 9 lets a module name its constraints, indexes and sequences, version 10 does not.
    keep_names: bool,
}

impl Reader<'_> {
    fn table(&mut self, raw: TableV10) -> Read<Table> {
        let name = self.naming.table(&raw.source_name);
        let Type::Product(row) = self.types.resolve(&RawType::Ref(raw.product_type_ref))? else {
            return broken(format!("the rows of table {name} are not made of columns"));
        };
        let mut columns = Vec::new();
        for (nth, member) in row.members.into_iter().enumerate() {
            let Some(column) = member.name else { return broken(format!("a column of {name} has no name")) };
            let has_default = raw.default_values.iter().any(|default| usize::from(default.col_id) == nth);
            columns.push(Column { name: column, ty: member.ty, has_default });
        }
        let table = Columns { table: &name, columns: &columns };
        let primary_key = raw.primary_key.first().map(|nth| table.name_of(*nth)).transpose()?;
        let indexes = raw.indexes.into_iter().map(|index| self.index(&table, index)).collect::<Read<_>>()?;
        let unique =
            raw.constraints.into_iter().map(|unique| self.unique(&table, unique)).collect::<Read<_>>()?;
        let sequences =
            raw.sequences.into_iter().map(|sequence| self.sequence(&table, sequence)).collect::<Read<_>>()?;
        Ok(Table {
            name,
            access: access(matches!(raw.table_access, RawAccess::Public(_))),
            system: matches!(raw.table_type, RawTableType::System(_)),
            event: raw.is_event,
            columns,
            primary_key,
            unique,
            indexes,
            sequences,
            schedule: None,
        })
    }

    fn index(&self, table: &Columns<'_>, raw: RawIndex) -> Read<Index> {
        let (algorithm, columns) = match raw.algorithm {
            RawAlgorithm::BTree(columns) => ("btree", columns),
            RawAlgorithm::Hash(columns) => ("hash", columns),
            RawAlgorithm::Direct(column) => ("direct", vec![column]),
        };
        let columns = table.names_of(&columns)?;
        let own = if self.keep_names { raw.name } else { self.naming.index(raw.name.as_deref()) };
        let name = own.unwrap_or_else(|| names::of_index(table.table, &columns, algorithm));
        Ok(Index { name, accessor: raw.accessor_name, algorithm, columns })
    }

    fn unique(&self, table: &Columns<'_>, raw: RawConstraint) -> Read<Unique> {
        let RawConstraintData::Unique(unique) = raw.data;
        let given = table.names_of(&unique.columns)?;
        let name = self.own(raw.name).unwrap_or_else(|| names::of_unique(table.table, &given));
        let in_order: BTreeSet<u16> = unique.columns.into_iter().collect();
        Ok(Unique { name, columns: table.names_of(&in_order)? })
    }

    fn sequence(&self, table: &Columns<'_>, raw: RawSequence) -> Read<Sequence> {
        let column = table.name_of(raw.column)?;
        Ok(Sequence {
            name: self.own(raw.name).unwrap_or_else(|| names::of_sequence(table.table, &column)),
            column,
            start: raw.start.map(|wide| wide.0),
            min: raw.min_value.map(|wide| wide.0),
            max: raw.max_value.map(|wide| wide.0),
            increment: raw.increment.0,
        })
    }

    fn own(&self, name: Option<String>) -> Option<String> {
        name.filter(|_| self.keep_names)
    }

    fn view(&mut self, raw: &RawView) -> Read<View> {
        Ok(View {
            name: self.naming.function(&raw.name),
            access: access(raw.is_public),
            anonymous: raw.is_anonymous,
            params: self.params(&raw.params)?,
            returns: self.types.resolve(&raw.return_type)?,
        })
    }

    fn params(&mut self, raw: &RawProduct) -> Read<Vec<Param>> {
        let mut params = Vec::new();
        for (nth, param) in raw.elements.iter().enumerate() {
            let name = param.name.clone().unwrap_or_else(|| format!("arg_{nth}"));
            params.push(Param { name, ty: self.types.resolve(&param.algebraic_type)? });
        }
        Ok(params)
    }

    fn attach_schedules(&self, definition: &mut Definition, schedules: Vec<ScheduleV10>) -> Read<()> {
        for schedule in schedules {
            let name = self.naming.table(&schedule.table_name);
            let Some(table) = definition.tables.iter_mut().find(|table| table.name == name) else {
                return broken(format!("there is a schedule for table {name}, but no such table"));
            };
            let column = Columns { table: &table.name, columns: &table.columns };
            let column = column.name_of(schedule.schedule_at_col)?;
            table.schedule =
                Some(Schedule { function: self.naming.function(&schedule.function_name), column });
        }
        Ok(())
    }
}

struct Columns<'table> {
    table: &'table str,
    columns: &'table [Column],
}

impl Columns<'_> {
    fn name_of(&self, nth: u16) -> Read<String> {
        match self.columns.get(usize::from(nth)) {
            Some(column) => Ok(column.name.clone()),
            None => broken(format!("table {} has no column number {nth}", self.table)),
        }
    }

    fn names_of<'nth>(&self, columns: impl IntoIterator<Item = &'nth u16>) -> Read<Vec<String>> {
        columns.into_iter().map(|nth| self.name_of(*nth)).collect()
    }
}

fn access(public: bool) -> Access {
    if public { Access::Public } else { Access::Private }
}

fn is_callable(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::ClientCallable(_))
}

fn lifecycle(raw: &RawLifecycle) -> Lifecycle {
    match raw {
        RawLifecycle::Init(_) => Lifecycle::Init,
        RawLifecycle::OnConnect(_) => Lifecycle::ClientConnected,
        RawLifecycle::OnDisconnect(_) => Lifecycle::ClientDisconnected,
    }
}

fn route(raw: HttpRoute) -> Route {
    let method = match raw.method {
        HttpMethods::Any(_) => "ANY".to_owned(),
        HttpMethods::Method(HttpMethod::Get(_)) => "GET".to_owned(),
        HttpMethods::Method(HttpMethod::Head(_)) => "HEAD".to_owned(),
        HttpMethods::Method(HttpMethod::Post(_)) => "POST".to_owned(),
        HttpMethods::Method(HttpMethod::Put(_)) => "PUT".to_owned(),
        HttpMethods::Method(HttpMethod::Delete(_)) => "DELETE".to_owned(),
        HttpMethods::Method(HttpMethod::Connect(_)) => "CONNECT".to_owned(),
        HttpMethods::Method(HttpMethod::Options(_)) => "OPTIONS".to_owned(),
        HttpMethods::Method(HttpMethod::Trace(_)) => "TRACE".to_owned(),
        HttpMethods::Method(HttpMethod::Patch(_)) => "PATCH".to_owned(),
        HttpMethods::Method(HttpMethod::Extension(own)) => own,
    };
    Route { path: raw.path, method, handler: raw.handler_function }
}

/// What a submodule brings goes by its namespace's name.
fn include(definition: &mut Definition, namespace: &str, inner: Definition) {
    let prefix = |name: &mut String| name.insert_str(0, &format!("{namespace}."));
    definition.tables.extend(inner.tables.into_iter().map(|mut table| {
        prefix(&mut table.name);
        if let Some(schedule) = &mut table.schedule {
            prefix(&mut schedule.function);
        }
        table
    }));
    definition.reducers.extend(inner.reducers.into_iter().map(|mut reducer| {
        prefix(&mut reducer.name);
        reducer
    }));
    definition.procedures.extend(inner.procedures.into_iter().map(|mut procedure| {
        prefix(&mut procedure.name);
        procedure
    }));
    definition.views.extend(inner.views.into_iter().map(|mut view| {
        prefix(&mut view.name);
        view
    }));
    definition.types.extend(inner.types.into_iter().map(|mut ty| {
        prefix(&mut ty.name);
        ty
    }));
    definition.routes.extend(inner.routes);
    definition.row_level_security.extend(inner.row_level_security);
}

/// Functions that a schedule or the server itself calls are not there for clients.
fn finished(mut definition: Definition) -> Definition {
    let scheduled: BTreeSet<String> = definition
        .tables
        .iter()
        .filter_map(|table| table.schedule.as_ref())
        .map(|schedule| schedule.function.clone())
        .collect();
    for reducer in &mut definition.reducers {
        reducer.callable &= reducer.lifecycle.is_none() && !scheduled.contains(&reducer.name);
    }
    for procedure in &mut definition.procedures {
        procedure.callable &= !scheduled.contains(&procedure.name);
    }
    for table in &mut definition.tables {
        table.unique.sort_by(|one, two| one.name.cmp(&two.name));
        table.indexes.sort_by(|one, two| one.name.cmp(&two.name));
        table.sequences.sort_by(|one, two| one.name.cmp(&two.name));
    }
    definition.tables.sort_by(|one, two| one.name.cmp(&two.name));
    definition.reducers.sort_by(|one, two| one.name.cmp(&two.name));
    definition.procedures.sort_by(|one, two| one.name.cmp(&two.name));
    definition.views.sort_by(|one, two| one.name.cmp(&two.name));
    definition.types.sort_by(|one, two| one.name.cmp(&two.name));
    definition.routes.sort();
    definition.row_level_security.sort();
    definition
}
