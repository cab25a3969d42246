//! How much memory the demo's application uses, as the kernel tells.

use std::{fs, path::Path};

/// The resident memory of the processes that `parent` started with `argument` as their first
/// argument, in bytes; `None` if there is none, or `/proc` does not say.
pub(super) fn of_children(parent: u32, argument: &str) -> Option<u64> {
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    let used: u64 = fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter(|entry| is_child(&entry.path(), parent, argument))
        .filter_map(|entry| resident_pages(&entry.path()))
        .sum();
    (used > 0).then_some(used * page)
}

fn is_child(process: &Path, parent: u32, argument: &str) -> bool {
    let Ok(command) = fs::read(process.join("cmdline")) else { return false };
    if command.split(|byte| *byte == 0).nth(1) != Some(argument.as_bytes()) {
        return false;
    }
    let Ok(stat) = fs::read_to_string(process.join("stat")) else { return false };
    // After the program's name, which may itself contain blanks and parentheses: state, parent.
    let after_name = stat.rsplit_once(')').map(|(_, rest)| rest);
    after_name.and_then(|rest| rest.split_whitespace().nth(1)) == Some(parent.to_string().as_str())
}

fn resident_pages(process: &Path) -> Option<u64> {
    let sizes = fs::read_to_string(process.join("statm")).ok()?;
    sizes.split_whitespace().nth(1)?.parse().ok()
}
