//! Several processes and one database, databases that cannot be written, and full disks: with real
//! processes, and real file systems where they can be mounted.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::terminal::Terminal;

/// Ends a process when the test does.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn commands_of_four_shells_wait_for_each_other() {
    let terminal = Terminal::with_visits();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    // Long enough for the slowest machine: nobody is passed over for ever.
                    terminal.run("call visits increment 1 --wait 10m").done();
                }
            });
        }
    });
    assert_eq!(terminal.run("get visits count").done(), "40\n");
    let help = terminal.run("call --help").done();
    assert!(help.contains("--wait <SPAN>") && help.contains("[default: 2s]"), "{help}");
}

/// A process that has the database open for long, once it has.
fn holder(terminal: &Terminal) -> Ended {
    let mut command = terminal.command("run --for 1h");
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut holder = Ended(child);
    while terminal.run("call visits increment 1 --wait 0s").code == Some(0) {
        assert!(holder.0.try_wait().unwrap().is_none(), "it goes on");
    }
    holder
}

#[test]
fn what_is_locked_says_who_has_it_and_what_to_do() {
    let terminal = Terminal::with_visits();
    let holder = holder(&terminal);
    let pid = holder.0.id();
    for line in ["call visits increment 1", "list", "check", "backup elsewhere", "check --repair"] {
        let refused = terminal.run(&format!("{line} --wait 10ms"));
        assert_eq!(refused.code, Some(1), "{line}: {}", refused.stderr);
        let told = refused.stderr;
        assert!(told.contains("another process has the database open"), "{line}: {told}");
        assert!(told.contains(&format!("process {pid}, ")), "{line}: {told}");
        assert!(told.contains("run --for 1h") && told.contains("--wait SPAN"), "{line}: {told}");
        assert_eq!(told.lines().count(), 1, "{line}: {told}");
    }
    let refused = terminal.run("restore continuant.db --db new --wait 0s --json");
    let error: Value = serde_json::from_str(&refused.stderr).unwrap();
    assert_eq!(error["error"]["kind"], "locked");
    drop(holder);
    // Nothing is left of one that was killed.
    terminal.run("call visits increment 1 --wait 0s").done();
}

#[test]
fn a_command_waits_until_the_other_process_has_ended() {
    let terminal = Terminal::with_visits();
    let holder = holder(&terminal);
    let mut waiting = terminal.command("call visits increment 1 --wait 10m");
    let mut waiting = Ended(waiting.stdout(Stdio::null()).spawn().unwrap());
    assert!(waiting.0.try_wait().unwrap().is_none(), "it waits");
    drop(holder);
    assert!(waiting.0.wait().unwrap().success());
}

/// Commands that read, of the object `visits`.
const READING: [&str; 25] = [
    "list",
    "name history visits",
    "show visits",
    "get visits count",
    "history visits",
    "history visits --backwards",
    "at visits 1",
    "diff visits 0 1",
    "blame visits count",
    "explain visits 1",
    "dry-run visits increment 1",
    "policy check visits policy.cedar",
    "upgrade --dry-run --for-good visits object.wasm",
    "dump visits --output memory.bin --force",
    "dead-letters",
    "outbox",
    "outbox mail --peek",
    "retain",
    "retain visits",
    "verify visits --replay",
    "verify --all",
    "evidence",
    "check",
    "export visits visits.continuant --force",
    "list --json",
];

/// A file system of `bytes` in memory, mounted while this exists; none where this process may not
/// mount one.
struct Mounted(PathBuf);

impl Mounted {
    fn new(path: &Path, bytes: u64) -> Option<Mounted> {
        std::fs::create_dir(path).unwrap();
        let options = format!("size={bytes}");
        let mounted = Mounted::mount(&["-t", "tmpfs", "-o", &options, "tmpfs"], path);
        mounted.then(|| Mounted(path.to_path_buf()))
    }

    fn mount(words: &[&str], path: &Path) -> bool {
        let mut command = Command::new("mount");
        command.args(words).arg(path).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    fn make_read_only(&self) {
        assert!(Mounted::mount(&["-o", "remount,ro"], &self.0));
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let is_mounted = Command::new("mountpoint").arg("-q").arg(&self.0).status();
        if is_mounted.is_ok_and(|status| status.success()) {
            let _ = Command::new("umount").arg(&self.0).status();
        }
    }
}

/// Returns all files below a directory, with their content.
fn files(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

#[test]
fn commands_that_read_change_nothing_and_two_of_them_run_at_once() {
    let terminal = Terminal::with_visits();
    terminal.run("call visits increment 2").done();
    terminal.run("outbox mail --new").done();
    let before = files(&terminal.path("continuant.db"));
    for line in READING {
        let read = terminal.run(line);
        assert!(matches!(read.code, Some(0 | 3)), "{line}: {}", read.stderr);
        assert!(files(&terminal.path("continuant.db")) == before, "{line}");
    }
    terminal.run("backup visits.backup").done();
    assert!(files(&terminal.path("continuant.db")) == before);
    // As it is read, it is locked for those that write, and for no other.
    let marker = std::fs::File::open(terminal.path("continuant.db/continuant.db")).unwrap();
    marker.lock_shared().unwrap();
    terminal.run("list --wait 0s").done();
    assert_eq!(terminal.run("call visits increment 1 --wait 0s").code, Some(1));
    drop(marker);
    terminal.run("call visits increment 1 --wait 0s").done();
}

#[test]
fn a_backup_is_read_as_it_is() {
    let terminal = Terminal::with_visits();
    terminal.run("call visits increment 2").done();
    terminal.run("outbox mail --new").done();
    terminal.run("backup visits.backup").done();
    let before = files(&terminal.path("visits.backup"));
    for line in READING {
        let read = terminal.run(&format!("{line} --db visits.backup"));
        assert!(matches!(read.code, Some(0 | 3)), "{line}: {}", read.stderr);
    }
    assert!(files(&terminal.path("visits.backup")) == before, "it has no index, and gets none");
    terminal.run("backup another.backup --db visits.backup").done();
    terminal.run("backup visits.backup").done();
}

#[test]
fn what_is_on_a_disk_that_cannot_be_written_is_read() {
    let terminal = Terminal::with_visits();
    terminal.run("call visits increment 2").done();
    terminal.run("outbox mail --new").done();
    let Some(disk) = Mounted::new(&terminal.path("disk"), 64 << 20) else { return };
    terminal.run("backup disk/backup").done();
    terminal.run("restore disk/backup --db disk/db").done();
    // One that was opened has an index.
    terminal.run("call visits increment 1 --db disk/db").done();
    disk.make_read_only();
    for line in READING {
        for db in ["disk/db", "disk/backup"] {
            let read = terminal.run(&format!("{line} --db {db}"));
            assert!(matches!(read.code, Some(0 | 3)), "{line}, {db}: {}", read.stderr);
        }
    }
    terminal.run("backup copy --db disk/db").done();
    terminal.run("restore disk/backup --db new").done();
    terminal.run("verify --all --replay --db new").done();
    let refused = terminal.run("call visits increment 1 --db disk/db");
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("Read-only file system"), "{}", refused.stderr);
}

/// Fills a disk but for some blocks, with a file that is to be removed.
fn fill(disk: &Path, free_blocks: usize) -> PathBuf {
    const BLOCK: usize = 4096;
    let path = disk.join("filler");
    let mut filler = std::fs::File::create(&path).unwrap();
    while filler.write_all(&[7; BLOCK]).is_ok() {}
    let length = filler.metadata().unwrap().len() as usize / BLOCK;
    filler.set_len((length.saturating_sub(free_blocks) * BLOCK) as u64).unwrap();
    path
}

/// Regression: a call that was acknowledged ended with 1, as one that failed, when there was no
/// room for the index at the end.
#[test]
fn what_is_done_ends_with_0_when_there_is_no_room_for_the_index() {
    let terminal = Terminal::with_visits();
    let Some(disk) = Mounted::new(&terminal.path("disk"), 1 << 20) else { return };
    terminal.write("open.cedar", "@id(\"open\") permit(principal, action, resource);");
    let create = "create object.wasm welcome --policy open.cedar --name visits";
    terminal.run(&format!("{create} --db disk/db")).done();
    let read = |line: &str| -> Value {
        serde_json::from_str(&terminal.run(&format!("{line} --db disk/db --json")).done()).unwrap()
    };
    let mut outcomes = BTreeSet::new();
    for free_blocks in 0..12 {
        let retain = format!("retain visits --versions {}", 50 + free_blocks);
        for line in ["call visits increment 1", "run", &retain] {
            if line == "run" {
                terminal.run("call visits ring --db disk/db").done();
            }
            let before = [read("show visits"), read("retain visits")];
            let filler = fill(&disk.0, free_blocks);
            let asked = terminal.run(&format!("{line} --db disk/db"));
            std::fs::remove_file(filler).unwrap();
            let is_made = [read("show visits"), read("retain visits")] != before;
            let about = format!("{line}, {free_blocks} blocks free: {asked:?}");
            assert_eq!(asked.code, Some(i32::from(!is_made)), "{about}");
            let warning = "warning: it is done, and durable; closing: ";
            let is_warned = asked.stderr.starts_with(warning);
            assert_eq!(is_warned, is_made && !asked.stderr.is_empty(), "{about}");
            let word = line.split(' ').next().unwrap();
            outcomes.insert((word.to_string(), is_made, is_warned));
            terminal.run("run --db disk/db").done();
        }
    }
    for line in ["call", "retain", "run"] {
        for is_warned in [true, false] {
            let outcome = (line.to_string(), true, is_warned);
            assert!(outcomes.contains(&outcome), "{line}: {outcomes:?}");
        }
    }
    terminal.run("check --db disk/db").done();
}

#[test]
fn a_small_disk_is_enough_and_a_full_one_is_read_and_left() {
    let terminal = Terminal::with_visits();
    let Some(disk) = Mounted::new(&terminal.path("disk"), 8 << 20) else { return };
    let create = "create object.wasm welcome --policy policy.cedar --name visits";
    terminal.run(&format!("{create} --db disk/db")).done();
    terminal.run("call visits increment 2 --db disk/db").done();
    terminal.run("outbox mail --new --db disk/db").done();
    // All that is left, to the last block.
    let full = std::fs::File::create(terminal.path("disk/full")).unwrap();
    let mut block = vec![7; 1 << 20];
    while !block.is_empty() {
        match std::io::Write::write(&mut &full, &block) {
            Ok(0) | Err(_) => block.truncate(block.len() / 2),
            Ok(_) => {}
        }
    }
    let mut count = 2;
    let failed = loop {
        let called = terminal.run("call visits increment 1 --db disk/db");
        if called.code != Some(0) {
            break called;
        }
        count += 1;
    };
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    assert!(failed.stderr.contains("no space left"), "{}", failed.stderr);
    assert!(failed.stderr.contains("backed up to another disk"), "{}", failed.stderr);
    for line in READING {
        let read = terminal.run(&format!("{line} --db disk/db"));
        assert!(matches!(read.code, Some(0 | 3)), "{line}: {}", read.stderr);
    }
    assert_eq!(terminal.run("get visits count --db disk/db").done(), format!("{count}\n"));
    // There is no room: the error says so in one line, and how much was done.
    let compacted = terminal.run("compact --all --db disk/db --json");
    assert_eq!((compacted.code, compacted.stderr.lines().count()), (Some(1), 1), "{compacted:?}");
    let error: Value = serde_json::from_str(&compacted.stderr).unwrap();
    assert_eq!((&error["error"]["kind"], &error["error"]["segments"]), (&"full".into(), &0.into()));
    assert!(error["error"]["room_needed"].as_u64().unwrap() > 0, "{error}");
    terminal.run("backup elsewhere --db disk/db").done();
    terminal.run("restore elsewhere --db moved").done();
    assert_eq!(terminal.run("get visits count --db moved").done(), format!("{count}\n"));
    drop(full);
    std::fs::remove_file(terminal.path("disk/full")).unwrap();
    terminal.run("call visits increment 1 --db disk/db").done();
    terminal.run("retain --versions 1 --db disk/db").done();
    terminal.run("compact --all --db disk/db").done();
    terminal.run("check --db disk/db").done();
    drop(disk);
}
