//! The cache of machine code in files, so that the next process need not compile a module again.
//!
//! Machine code runs unchecked, so a file is trusted only when it is exactly as it was written
//! here: its hash is keyed with a secret of the cache, which nobody but its owner can read, in a
//! directory that nobody else can write to when it is opened. Any other file there is compiled
//! again and replaced. This module does not know what modules are for.
//!
//! ```text
//! KEY       32 random bytes
//! <hash>    MAGIC | keyed hash of name and machine code, 32 bytes | machine code
//! ```
//!
//! A file is named by the hash of the instrumented module. The substrate checks on loading that it
//! is of this compiler, with these settings, for this processor.
//!
//! Invariant: no byte is loaded whose hash was not verified after it was read.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use object::hash::Context;
use tempfile::NamedTempFile;
use wasmtime::{Engine, Module};

const MAGIC: &[u8; 8] = b"CNTCODE1";
const KEY: &str = "key";
const HASH_BYTES: usize = 32;
/// Bytes of all files, above which the ones that were used the longest ago are removed.
const CACHE_BYTES_MAX: u64 = 256 << 20;
/// Bytes of one file.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Bits of a mode by which others than the owner may write, and may do anything.
const WRITTEN_BY_OTHERS: u32 = 0o022;
const OTHERS: u32 = 0o077;
/// The prefix of the names of unfinished files.
const TEMPORARY: &str = ".new-";

/// A directory of machine code.
#[derive(Clone)]
pub(crate) struct Cache {
    directory: PathBuf,
    key: [u8; HASH_BYTES],
}

impl Cache {
    /// Opens the cache in a directory, which is made, for its owner alone, if it is missing.
    ///
    /// # Errors
    ///
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) when the directory is another user's
    /// or others may write to it; those of the file system.
    pub(crate) fn open(directory: &Path) -> io::Result<Cache> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let about = fs::metadata(directory)?;
        // A file made now belongs to this user.
        let made = temporary(directory)?;
        let user = made.as_file().metadata()?.uid();
        if about.uid() != user || about.mode() & WRITTEN_BY_OTHERS != 0 {
            let problem = "other users could put code there: make it this user's, with mode 0700";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
        }
        let key = match read_key(directory, user)? {
            Some(key) => key,
            None => make_key(directory, made, user)?,
        };
        Ok(Cache { directory: directory.to_path_buf(), key })
    }

    /// The machine code of a module, if it is there as it was written.
    pub(super) fn load(&self, engine: &Engine, wasm: &[u8]) -> Option<Module> {
        let (name, mut file) = (name(wasm), Vec::new());
        let path = self.directory.join(&name);
        let opened = File::open(path).ok()?;
        (&opened).take(FILE_BYTES_MAX).read_to_end(&mut file).ok()?;
        let rest = file.strip_prefix(MAGIC)?;
        let (hash, machine_code) = rest.split_first_chunk()?;
        if *hash != self.hash(&name, machine_code) {
            tracing::warn!(name, "a file of the code cache was changed since it was written");
            return None;
        }
        // SAFETY: the bytes are what `Module::serialize` gave in `keep`: their hash is keyed with a
        // secret that this user's processes alone know, and they are in this process's memory since
        // before it was verified. What another version or other settings made is refused.
        let loaded = unsafe { Module::deserialize(engine, machine_code) };
        let module =
            loaded.inspect_err(|error| tracing::info!(%error, "machine code of another version"));
        // The time says when it was last of use. That it does is no condition of using it.
        let _ = opened.set_modified(SystemTime::now());
        module.ok()
    }

    /// Keeps the machine code of a module. That it cannot is worth no more than a warning.
    pub(super) fn keep(&self, wasm: &[u8], module: &Module) {
        if let Err(error) = self.write(wasm, module) {
            let directory = self.directory.display();
            tracing::warn!(%error, %directory, "machine code could not be kept");
        }
    }

    fn write(&self, wasm: &[u8], module: &Module) -> io::Result<()> {
        let name = name(wasm);
        let machine_code = module.serialize().map_err(io::Error::other)?;
        let length = (MAGIC.len() + HASH_BYTES + machine_code.len()) as u64;
        if length > FILE_BYTES_MAX {
            return Ok(());
        }
        self.make_room(length)?;
        let mut file = temporary(&self.directory)?;
        file.write_all(MAGIC)?;
        file.write_all(&self.hash(&name, &machine_code))?;
        file.write_all(&machine_code)?;
        file.persist(self.directory.join(name))?;
        Ok(())
    }

    fn hash(&self, name: &str, machine_code: &[u8]) -> [u8; HASH_BYTES] {
        static CONTEXT: Context = Context::new("continuant 2 machine code");
        let mut hasher = CONTEXT.hasher();
        hasher.update(&self.key).update(name.as_bytes()).update(machine_code);
        *hasher.finalize().as_bytes()
    }

    /// Removes the files that were of no use for the longest, until there is room for `bytes`.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let mut files = self.files()?;
        let mut all = bytes + files.iter().map(|(_, about)| about.len()).sum::<u64>();
        files.sort_by_key(|(_, about)| about.modified().unwrap_or(SystemTime::UNIX_EPOCH));
        for (path, about) in files {
            if all <= CACHE_BYTES_MAX {
                break;
            }
            // Another process may have removed it.
            let _ = fs::remove_file(path);
            all -= about.len();
        }
        Ok(())
    }

    /// Returns the files that were made here, without the key. Any other file stays.
    fn files(&self) -> io::Result<Vec<(PathBuf, Metadata)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(is_own)
                && let Ok(about) = entry.metadata()
                && about.is_file()
            {
                files.push((entry.path(), about));
            }
        }
        Ok(files)
    }
}

/// Returns whether a file of this name holds machine code, or was to hold it.
fn is_own(name: &str) -> bool {
    let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.starts_with(TEMPORARY) || (name.len() == 2 * HASH_BYTES && name.bytes().all(digits))
}

/// A file that is not whole yet.
fn temporary(directory: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(directory)
}

/// The name of the file that has the machine code of a module.
fn name(wasm: &[u8]) -> String {
    static CONTEXT: Context = Context::new("continuant 2 instrumented module");
    CONTEXT.hasher().update(wasm).finalize().to_string()
}

/// Reads the key, unless there is none that this user made and nobody else could: another user's is
/// not trusted, nor a partial one.
fn read_key(directory: &Path, user: u32) -> io::Result<Option<[u8; HASH_BYTES]>> {
    // Nothing but a file is opened: another thing of this name might never be read to its end.
    let path = directory.join(KEY);
    if !fs::symlink_metadata(&path).is_ok_and(|about| about.is_file()) {
        return Ok(None);
    }
    let mut file = File::open(path)?;
    let about = file.metadata()?;
    if !about.is_file() || about.uid() != user || about.mode() & OTHERS != 0 {
        return Ok(None);
    }
    let mut key = [0; HASH_BYTES];
    match file.read_exact(&mut key) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
        // A key that a crash left unfinished does not count.
        Ok(()) => Ok((key != [0; HASH_BYTES]).then_some(key)),
    }
}

/// Makes a key; files under another key become worthless.
fn make_key(directory: &Path, mut file: NamedTempFile, user: u32) -> io::Result<[u8; HASH_BYTES]> {
    let mut key = [0; HASH_BYTES];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    file.write_all(&key)?;
    file.as_file().sync_all()?;
    file.persist(directory.join(KEY))?;
    // If two processes each made a key, one of them is kept.
    read_key(directory, user)?.ok_or_else(|| io::Error::other("the key is gone again"))
}
