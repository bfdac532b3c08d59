//! No core dumps: what a crash would write to a disk holds keys, passwords and tokens.

/// Asks the system to write none of this process, nor to let others of this user look into its memory.
///
/// A system that does not know how is no reason not to run.
pub(crate) fn forbid() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        // Stronger than a limit, which a program that takes cores through a pipe need not keep; and no child inherits it.
        set_dumpable_behavior(DumpableBehavior::NotDumpable).ok();
    }
    #[cfg(not(target_os = "linux"))]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Core);
        setrlimit(Resource::Core, Rlimit { current: Some(0), ..limit }).ok();
    }
}
