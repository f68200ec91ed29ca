//! A sync that fails on a real file system, whose pages the kernel then treats as written, and then
//! a power cut: no acknowledged commit is lost, by the log or by the index.
//!
//! The file system is on a loop device over a sparse image, on a small file system in memory: when
//! that one is full, writes to new blocks fail. A copy of the image is what a power cut leaves. It
//! needs root, so it runs only with `RUN_SLOW_TESTS`.
//!
//! Invariant: every mount is unmounted, also when a test fails.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use continuant::{Clock, Code, Database, ObjectId, Options, Time, VersionHash, args};
use tempfile::TempDir;

const COUNTER: &[u8] = include_bytes!("../../../guest/objects/counter.wasm");
const OPEN: &str = r#"@id("open") permit(principal, action, resource);"#;
/// Bytes of the file system in memory; the image is larger, and sparse.
const MEMORY: &str = "size=24m";
const IMAGE_BYTES: u64 = 64 << 20;

/// Runs a program, which must succeed, and returns its output.
#[track_caller]
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {problem}");
    String::from_utf8(output.stdout).unwrap().trim().to_string()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Something that is mounted, until it is dropped.
struct Mount {
    place: PathBuf,
    device: Option<String>,
}

impl Mount {
    fn memory(place: PathBuf) -> Mount {
        fs::create_dir(&place).unwrap();
        run("mount", &["-t", "tmpfs", "-o", MEMORY, "tmpfs", text(&place)]);
        Mount { place, device: None }
    }

    fn image(image: &Path, place: PathBuf) -> Mount {
        fs::create_dir(&place).unwrap();
        let device = run("losetup", &["--find", "--show", text(image)]);
        let mount = Mount { place, device: Some(device.clone()) };
        // A request of several pages that can be written in part is taken for done by the device,
        // which would be a disk that lies.
        let queue = Path::new("/sys/block").join(device.trim_start_matches("/dev/"));
        fs::write(queue.join("queue/max_sectors_kb"), "4").unwrap();
        run("mount", &[&device, text(&mount.place)]);
        mount
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let end = |program, argument: &str| {
            // A test that failed has reported it; the rest is cleaned up all the same.
            drop(Command::new(program).args([argument]).output());
        };
        let mounted = Command::new("mountpoint").arg("-q").arg(&self.place).status();
        if mounted.is_ok_and(|status| status.success()) {
            end("umount", text(&self.place));
        }
        if let Some(device) = &self.device {
            drop(Command::new("losetup").args(["--detach", device]).output());
        }
    }
}

/// A disk that can be made to fail. Fields are dropped in their order.
struct Disk {
    system: Mount,
    memory: Mount,
    directory: TempDir,
}

impl Disk {
    fn new() -> Disk {
        let directory = TempDir::new().unwrap();
        let memory = Mount::memory(directory.path().join("memory"));
        let image = memory.place.join("image");
        File::create(&image).unwrap().set_len(IMAGE_BYTES).unwrap();
        // Without a journal the file system continues when its device fails, and blocks of the size
        // of a page make a write fail as a whole.
        run("mkfs.ext4", &["-q", "-F", "-b", "4096", "-O", "^has_journal", text(&image)]);
        let system = Mount::image(&image, directory.path().join("system"));
        Disk { system, memory, directory }
    }

    fn database(&self) -> PathBuf {
        self.system.place.join("db")
    }

    /// Has every write to a new block fail, and shows that syncs do.
    fn fill(&self) {
        let probe = self.system.place.join("probe");
        run("fallocate", &["--length", "1MiB", text(&probe)]);
        run("sync", &["--file-system", text(&self.system.place)]);
        let mut ballast = File::create(self.memory.place.join("ballast")).unwrap();
        for bytes in [1 << 16, 1 << 12] {
            while ballast.write_all(&vec![0x5a; bytes]).is_ok() {}
        }
        let probe = File::options().write(true).open(probe).unwrap();
        probe.write_all_at(&[1; 1 << 20], 0).unwrap();
        probe.sync_data().expect_err("a sync fails when there is no room");
        probe.sync_data().expect("the next succeeds: the kernel takes the pages for written");
    }

    fn free(&self) {
        fs::remove_file(self.memory.place.join("ballast")).unwrap();
    }

    /// The file system as a power cut leaves it at this moment.
    fn cut(&self) -> Mount {
        let image = self.directory.path().join("after");
        run("cp", &["--sparse=always", text(&self.memory.place.join("image")), text(&image)]);
        // `fsck` repairs its findings, and exits with 1 then.
        let checked = Command::new("fsck.ext4").args(["-f", "-y"]).arg(&image).output().unwrap();
        assert!(checked.status.code().is_some_and(|code| code < 4), "{checked:?}");
        Mount::image(&image, self.directory.path().join("cut"))
    }
}

/// The acknowledged commits.
#[derive(Default)]
struct Record(Vec<(ObjectId, u64, VersionHash)>);

impl Record {
    /// Calls a counter so often, or until an error.
    fn commit(&mut self, db: &Database, id: ObjectId, count: usize) -> continuant::Result<()> {
        for _ in 0..count {
            let receipt = db.call(id, "increment", args![1u64]).wait()?;
            self.0.push((id, receipt.header.seq, receipt.version));
        }
        Ok(())
    }

    #[track_caller]
    fn check(&self, db: &Database) {
        for (id, seq, version) in &self.0 {
            assert_eq!(db.at(*id, *seq).unwrap().hash(), *version, "version {seq} of {id}");
        }
        let report = db.check(|_, _| {}).unwrap();
        assert!(report.is_sound(), "{:?}", report.damage);
    }
}

fn open(path: &Path, options: storage::Options) -> Database {
    Options::new().clock(Clock::manual(Time::MIN)).storage(options).open(path).unwrap()
}

fn create(db: &Database) -> ObjectId {
    db.create(Code::wasm(COUNTER).unwrap().policy(OPEN)).unwrap()
}

/// The causes of an error, one after another.
fn causes(error: &dyn std::error::Error) -> String {
    let source = error.source().map_or_else(String::new, causes);
    format!("{error} | {source}")
}

/// A way to make a database fail while its disk does.
#[derive(Clone, Copy)]
struct Failure {
    /// The file whose sync fails.
    file: &'static str,
    fail: fn(Database, ObjectId, &mut Record) -> continuant::Error,
}

/// Makes a database fail; then looks for everything acknowledged: with the power cut at once, or
/// after more commits by a process that might trust its reads.
fn lose_a_sync(Failure { file, fail }: Failure, goes_on: bool) {
    let options = || storage::Options::new().segment_bytes(1 << 20);
    let disk = Disk::new();
    let db = open(&disk.database(), options());
    let (id, mut record) = (create(&db), Record::default());
    record.commit(&db, id, 20).unwrap();
    disk.fill();
    let error = fail(db, id, &mut record);
    let causes = causes(&error);
    assert!(causes.contains(file) && causes.contains("os error 28"), "{file} failed: {causes}");
    disk.free();
    if goes_on {
        let db = open(&disk.database(), options());
        record.check(&db);
        record.commit(&db, id, 50).unwrap();
        // Another object, so that rows of the index go to new places.
        let other = create(&db);
        record.commit(&db, other, 10).unwrap();
        drop(db);
    }
    let cut = disk.cut();
    let db = open(&cut.place.join("db"), options());
    record.check(&db);
    record.commit(&db, id, 10).unwrap();
    db.close().unwrap();
}

#[test]
fn commits_survive_a_failed_sync_and_a_power_cut() {
    if std::env::var_os("RUN_SLOW_TESTS").is_none() {
        return;
    }
    let log = Failure {
        file: ".log",
        fail: |db, id, record| record.commit(&db, id, 10_000).expect_err("the log has no room"),
    };
    // All is durable in the log; the index is written when the database is closed.
    let index = Failure {
        file: "index.redb",
        fail: |db, _, _| db.close().expect_err("the index has no room"),
    };
    // One after another: they would take each other's loop devices.
    for failure in [log, index] {
        lose_a_sync(failure, false);
        lose_a_sync(failure, true);
    }
}
