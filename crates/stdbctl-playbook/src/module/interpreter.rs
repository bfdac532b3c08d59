//! Runs a module's description of itself the way a server does, with nothing to touch and an end to its patience.
//!
//! In order: `_initialize`, the `__preinit__*` functions by name, `__setup__`, `__describe_module__`. The host
//! functions that those may use are two, a sink for bytes and the log; any other traps.

use std::collections::BTreeSet;
use std::path::Path;

use wasmi::{
    Caller, CompilationMode, Config, Engine, Extern, ExternType, FuncType, Instance, Linker, Memory, Store,
    StoreLimits, StoreLimitsBuilder, TrapCode, ValType,
};

use super::ModuleError;

const DESCRIBE: &str = "__describe_module__";
const CALL_REDUCER: &str = "__call_reducer__";
const SETUP: &str = "__setup__";
const INITIALIZE: &str = "_initialize";
const PREINIT: &str = "__preinit__";

/// Real descriptions have kilobytes.
const LARGEST_DESCRIPTION: usize = 8 << 20;

/// What a module says before it crashes is in its last few lines.
const MOST_MESSAGES: usize = 16;
const LONGEST_MESSAGE: usize = 4 << 10;
/// What a message costs, and each byte of it, in instructions that would take as long.
const FUEL_OF_MESSAGE: u64 = 1 << 10;
const FUEL_OF_BYTE: u64 = 16;

/// The one handle there is.
const SINK: u32 = 1;
const NO_SUCH_BYTES: u32 = 8;
const NO_SPACE: u32 = 9;

/// The level at which bindings log a panic.
const PANIC: u32 = 101;

/// How far a module may go to describe itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// About as many instructions.
    pub(super) fuel: u64,
    /// Bytes of memory.
    pub(super) memory: usize,
}

impl Default for Limits {
    /// A small Rust module needs 300,000 instructions, a C# one has a whole runtime to start.
    fn default() -> Self {
        Self { fuel: 4_000_000_000, memory: 1 << 30 }
    }
}

/// A valid module with the face of one for SpacetimeDB.
pub(super) struct Interface {
    engine: Engine,
    module: wasmi::Module,
    limits: Limits,
}

/// Compiles and checks what can be seen without running anything.
pub(super) fn load(path: &Path, bytes: &[u8], limits: Limits) -> Result<Interface, ModuleError> {
    let mut config = Config::default();
    // All of it is validated now, and translated only as far as it is used: little of a module describes it.
    config.compilation_mode(CompilationMode::LazyTranslation).consume_fuel(true).ignore_custom_sections(true);
    config.set_max_stack_height(16 << 20);
    config.set_max_recursion_depth(10_000);
    let engine = Engine::new(&config);
    let module = wasmi::Module::new(&engine, bytes)
        .map_err(|source| ModuleError::Invalid { path: path.to_owned(), source })?;
    ensure_imports(path, &module)?;
    ensure_exports(path, &module)?;
    Ok(Interface { engine, module, limits })
}

fn ensure_imports(path: &Path, module: &wasmi::Module) -> Result<(), ModuleError> {
    let foreign = module.imports().find(|import| {
        !import.module().starts_with("spacetime_") || !matches!(import.ty(), ExternType::Func(_))
    });
    foreign.map_or(Ok(()), |import| {
        Err(ModuleError::Foreign {
            path: path.to_owned(),
            name: in_one_line(import.name().as_bytes()),
            from: in_one_line(import.module().as_bytes()),
        })
    })
}

fn ensure_exports(path: &Path, module: &wasmi::Module) -> Result<(), ModuleError> {
    let missing = |what, name| Err(ModuleError::NotSpacetime { path: path.to_owned(), what, name });
    match module.get_export(DESCRIBE) {
        Some(ExternType::Func(ty)) if is(&ty, &[ValType::I32], &[]) => {}
        Some(_) => return missing("function of one i32", DESCRIBE),
        None => return missing("function", DESCRIBE),
    }
    if !matches!(module.get_export(CALL_REDUCER), Some(ExternType::Func(_))) {
        return missing("function", CALL_REDUCER);
    }
    if !matches!(module.get_export("memory"), Some(ExternType::Memory(_))) {
        return missing("memory", "memory");
    }
    Ok(())
}

fn is(ty: &FuncType, params: &[ValType], results: &[ValType]) -> bool {
    ty.params() == params && ty.results() == results
}

/// What a running module has to do with.
struct Host {
    limits: StoreLimits,
    sink: Vec<u8>,
    messages: Vec<String>,
    panic: Option<String>,
}

impl Interface {
    /// The newest of the interfaces it imports from.
    pub(super) fn abi(&self) -> (u16, u16) {
        let versions = self.module.imports().filter_map(|import| {
            let (major, minor) = import.module().strip_prefix("spacetime_")?.split_once('.')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        });
        versions.max().unwrap_or((10, 0))
    }

    /// What the module says of itself, in BSATN.
    pub(super) fn describe(&self, path: &Path) -> Result<Vec<u8>, ModuleError> {
        let mut run = Run::start(self, path)?;
        if run.has(INITIALIZE, &[], &[]) {
            run.call(INITIALIZE, ())?;
        }
        let mut first: Vec<&str> = self
            .module
            .exports()
            .map(|export| export.name())
            .filter(|name| name.starts_with(PREINIT))
            .collect();
        first.sort_unstable();
        for name in first {
            run.call(name, ())?;
        }
        if run.has(SETUP, &[ValType::I32], &[ValType::I32]) {
            run.set_up()?;
        }
        run.store.data_mut().sink.clear();
        run.call(DESCRIBE, SINK)?;
        Ok(run.store.into_data().sink)
    }

    fn linker(&self) -> Result<Linker<Host>, wasmi::Error> {
        let mut linker = Linker::new(&self.engine);
        let mut seen = BTreeSet::new();
        for import in self.module.imports() {
            let (from, name) = (import.module(), import.name());
            let ExternType::Func(ty) = import.ty() else { continue };
            // The same function twice is one function.
            if !seen.insert((from, name)) {
                continue;
            }
            match name {
                "bytes_sink_write" => linker.func_wrap(from, name, write_to_sink)?,
                "console_log" => linker.func_wrap(from, name, log)?,
                _ => {
                    let refusal = format!("`{name}` was called, which only works while a reducer runs");
                    linker.func_new(from, name, ty.clone(), move |_, _, _| {
                        Err(wasmi::Error::new(refusal.clone()))
                    })?
                }
            };
        }
        Ok(linker)
    }
}

impl Host {
    fn new(limits: Limits) -> Self {
        let limits = StoreLimitsBuilder::new().memory_size(limits.memory).table_elements(10_000_000).build();
        Self { limits, sink: Vec::new(), messages: Vec::new(), panic: None }
    }

    /// The panic if there was one, else the last line of the log.
    fn last_words(&self) -> Option<String> {
        self.panic.as_ref().or(self.messages.last()).cloned()
    }
}

/// A module being run.
struct Run<'path> {
    path: &'path Path,
    fuel: u64,
    store: Store<Host>,
    instance: Instance,
}

impl<'path> Run<'path> {
    fn start(interface: &Interface, path: &'path Path) -> Result<Self, ModuleError> {
        let mut store = Store::new(&interface.engine, Host::new(interface.limits));
        store.limiter(|host| &mut host.limits);
        let started = store
            .set_fuel(interface.limits.fuel)
            .and_then(|()| interface.linker()?.instantiate_and_start(&mut store, &interface.module));
        match started {
            Ok(instance) => Ok(Self { path, fuel: interface.limits.fuel, store, instance }),
            Err(error) => Err(failure(path, interface.limits.fuel, &store, "start", error)),
        }
    }

    fn has(&self, name: &str, params: &[ValType], results: &[ValType]) -> bool {
        self.instance
            .get_func(&self.store, name)
            .is_some_and(|function| is(&function.ty(&self.store), params, results))
    }

    fn call<Params: wasmi::WasmParams>(&mut self, name: &str, params: Params) -> Result<(), ModuleError> {
        let called = self
            .instance
            .get_typed_func::<Params, ()>(&self.store, name)
            .and_then(|function| function.call(&mut self.store, params));
        called.map_err(|error| failure(self.path, self.fuel, &self.store, name, error))
    }

    fn set_up(&mut self) -> Result<(), ModuleError> {
        let called = self
            .instance
            .get_typed_func::<u32, i32>(&self.store, SETUP)
            .and_then(|function| function.call(&mut self.store, SINK));
        match called {
            Ok(0) => Ok(()),
            Ok(_) => {
                let message = in_one_line(&self.store.data().sink);
                Err(ModuleError::Refused { path: self.path.to_owned(), message })
            }
            Err(error) => Err(failure(self.path, self.fuel, &self.store, SETUP, error)),
        }
    }
}

fn failure(path: &Path, fuel: u64, store: &Store<Host>, function: &str, source: wasmi::Error) -> ModuleError {
    let (path, function) = (path.to_owned(), in_one_line(function.as_bytes()));
    if source.as_trap_code() == Some(TrapCode::OutOfFuel) {
        return ModuleError::Endless { path, function, instructions: fuel };
    }
    ModuleError::Crashed { path, function, message: store.data().last_words(), source }
}

fn write_to_sink(
    mut caller: Caller<'_, Host>,
    sink: u32,
    from: u32,
    length: u32,
) -> Result<u32, wasmi::Error> {
    if sink != SINK {
        return Ok(NO_SUCH_BYTES);
    }
    let memory = memory(&caller)?;
    let (bytes, host) = memory.data_and_store_mut(&mut caller);
    let length = slice(bytes, length, 4)?.first_chunk().map(|length| u32::from_le_bytes(*length));
    let written = slice(bytes, from, length.unwrap_or_default())?;
    if host.sink.len().saturating_add(written.len()) > LARGEST_DESCRIPTION {
        return Ok(NO_SPACE);
    }
    host.sink.extend_from_slice(written);
    Ok(0)
}

#[expect(clippy::too_many_arguments, reason = "the signature is the server's")]
fn log(
    mut caller: Caller<'_, Host>,
    level: u32,
    _target: u32,
    _target_length: u32,
    _file: u32,
    _file_length: u32,
    _line: u32,
    message: u32,
    length: u32,
) -> Result<(), wasmi::Error> {
    let cost = FUEL_OF_MESSAGE.saturating_add(FUEL_OF_BYTE.saturating_mul(length.into()));
    let fuel = caller.get_fuel()?.checked_sub(cost).ok_or(TrapCode::OutOfFuel)?;
    caller.set_fuel(fuel)?;
    let memory = memory(&caller)?;
    let (bytes, host) = memory.data_and_store_mut(&mut caller);
    let message = in_one_line(slice(bytes, message, length)?);
    if level == PANIC {
        host.panic = Some(message.clone());
    }
    if host.messages.len() >= MOST_MESSAGES {
        host.messages.remove(0);
    }
    host.messages.push(message);
    Ok(())
}

fn memory(caller: &Caller<'_, Host>) -> Result<Memory, wasmi::Error> {
    caller
        .get_export("memory")
        .and_then(Extern::into_memory)
        .ok_or_else(|| wasmi::Error::new("the module's memory is not there"))
}

fn slice(bytes: &[u8], from: u32, length: u32) -> Result<&[u8], wasmi::Error> {
    let range = usize::try_from(from).ok().zip(usize::try_from(length).ok());
    range
        .and_then(|(from, length)| bytes.get(from..from.checked_add(length)?))
        .ok_or_else(|| wasmi::Error::new("the module pointed outside its memory"))
}

/// A module's words go to a terminal: on one line, and nothing in them that steers it.
fn in_one_line(text: &[u8]) -> String {
    let text = text.get(..LONGEST_MESSAGE).unwrap_or(text);
    let text = String::from_utf8_lossy(text);
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}
