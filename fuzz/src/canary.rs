//! Canaries: builds from which one check was removed, and which a target must notice.
//!
//! The product's code knows nothing of them. A canary names an expression in a file and its
//! replacement. All of them are put into a copy of the tree, each asleep until the environment
//! wakes it, so that one build serves all; asleep, every target passes, and woken, the target
//! responsible for it fails.
//!
//! Invariant: the text of a canary is in its file exactly once, or nothing is run.

mod list;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};

pub use list::CANARIES;

/// Wakes the canary that it names.
const WAKE: &str = "CONTINUANT_CANARY";
/// The marks before and behind the expression that is replaced.
const MARKS: [char; 2] = ['⟦', '⟧'];
/// Folders at the top of a tree that are not code.
const LEFT_OUT: [&str; 2] = ["target", ".git"];

/// A check that can be removed.
#[derive(Clone, Copy, Debug)]
pub struct Canary {
    /// The canary's name.
    pub name: &'static str,
    /// The target that must notice.
    pub target: &'static str,
    /// The file that has the check.
    pub file: &'static str,
    /// Text that is there once, with the expression to replace between marks.
    pub text: &'static str,
    /// The expression that replaces it: of the same type, and no check.
    pub with: &'static str,
}

impl Canary {
    /// The text before the expression, it, and the text behind it.
    fn parts(&self) -> Result<[&'static str; 3]> {
        let parts: Vec<&str> = self.text.split(MARKS).collect();
        parts.try_into().map_err(|_| anyhow::anyhow!("{}: one pair of marks", self.name))
    }

    /// Runs within which the target must notice.
    fn runs(&self) -> Result<u64> {
        let found = list::RUNS.iter().find(|(target, _)| *target == self.target);
        Ok(found.with_context(|| format!("{} has no number of runs", self.target))?.1)
    }

    /// The expression with the canary in it, asleep.
    fn asleep(&self, expression: &str) -> String {
        let Canary { name, with, .. } = self;
        let woken = format!("std::env::var_os({WAKE:?}).is_some_and(|woken| woken == {name:?})");
        format!("(if {woken} {{ {with} }} else {{ {expression} }})")
    }
}

/// Finds the start of a canary's expression in its file.
fn find(canary: &Canary, text: &str) -> Result<usize> {
    let [before, expression, behind] = canary.parts()?;
    let whole = [before, expression, behind].concat();
    let found = text.matches(&whole).count();
    let Canary { name, file, .. } = canary;
    ensure!(
        found == 1,
        "canary {name:?}: expected its text once in {file}, found it {found} times"
    );
    Ok(text.find(&whole).expect("it was just found") + before.len())
}

/// Checks that the text of every canary is in its file of `tree` exactly once.
///
/// # Errors
///
/// All canaries for which it is not.
pub fn check(tree: &Path) -> Result<()> {
    let mut problems = String::new();
    for canary in CANARIES.iter() {
        let text = fs::read_to_string(tree.join(canary.file));
        let found = text.map_err(anyhow::Error::from).and_then(|text| find(canary, &text));
        if let Err(problem) = found {
            writeln!(problems, "{problem}").expect("a string takes what is written");
        }
    }
    if problems.is_empty() { Ok(()) } else { bail!(problems) }
}

/// Puts all canaries to sleep in `tree`. Several may share an expression: then each has its own
/// place in it.
fn put(tree: &Path) -> Result<()> {
    let mut files: Vec<&str> = CANARIES.iter().map(|canary| canary.file).collect();
    files.sort_unstable();
    files.dedup();
    for file in files {
        let path = tree.join(file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut places = Vec::new();
        for canary in CANARIES.iter().filter(|canary| canary.file == file) {
            places.push((find(canary, &text)?, canary));
        }
        places.sort_by_key(|place| place.0);
        let (mut patched, mut at) = (String::new(), 0);
        for group in places.chunk_by(|one, next| one.0 == next.0) {
            let (start, first) = group[0];
            let [_, expression, _] = first.parts()?;
            ensure!(start >= at, "canary {:?} is within another", first.name);
            let nested = group
                .iter()
                .fold(expression.to_string(), |inner, (_, canary)| canary.asleep(&inner));
            patched += &text[at..start];
            patched += &nested;
            at = start + expression.len();
        }
        patched += &text[at..];
        fs::write(&path, patched)?;
    }
    Ok(())
}

/// Builds a copy of `tree` with all canaries and wakes each of those named, or all: each must be
/// noticed. Reports each to `told`.
///
/// The build runs `CARGO`, in `CARGO_TARGET_DIR` or a folder of its own in the target directory: in
/// the tree's own, the tree's builds would be mistaken for those of the copy.
///
/// # Errors
///
/// A canary whose text is missing, a build that fails, a target that fails without a canary, and
/// the canaries that went unnoticed.
pub fn run(tree: &Path, names: &[String], mut told: impl FnMut(&str)) -> Result<()> {
    let known = |name: &&String| !CANARIES.iter().any(|canary| canary.name == **name);
    if let Some(name) = names.iter().find(known) {
        bail!("no canary {name:?}");
    }
    check(tree)?;
    let copy = tempfile::Builder::new().prefix("canaries-").tempdir()?;
    copy_tree(tree, copy.path(), &LEFT_OUT)?;
    put(copy.path())?;
    let built = build(copy.path(), tree)?;
    let woken: Vec<&Canary> = CANARIES
        .iter()
        .filter(|canary| names.is_empty() || names.iter().any(|name| name == canary.name))
        .collect();
    for &(target, runs) in list::RUNS {
        if !woken.iter().any(|canary| canary.target == target) {
            continue;
        }
        let (output, took) = fuzz(&built, target, runs, None)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{target} fails without a canary: {said}");
        told(&format!("{target}: {runs} runs pass without a canary, {took:.1} s"));
    }
    let mut unnoticed = Vec::new();
    for canary in woken {
        let (output, took) = fuzz(&built, canary.target, canary.runs()?, Some(canary.name))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match said.split_once(&format!("{} --seed ", canary.target)) {
            Some((_, rest)) if !output.status.success() => {
                let rest = &rest[..rest.floor_char_boundary(160)].replace('\n', " ");
                told(&format!("{:24} noticed, {took:.1} s: --seed {rest}", canary.name));
            }
            // A thread of the product panicked, which ends the process before a seed is told.
            _ if output.status.code().is_none() && said.contains("panicked at") => {
                told(&format!("{:24} noticed, {took:.1} s: a thread panicked", canary.name));
            }
            _ => {
                told(&format!("{:24} UNNOTICED by {}: {said}", canary.name, canary.target));
                unnoticed.push(canary.name);
            }
        }
    }
    ensure!(unnoticed.is_empty(), "canaries that nobody noticed: {}", unnoticed.join(", "));
    Ok(())
}

fn fuzz(built: &Path, target: &str, runs: u64, woken: Option<&str>) -> Result<(Output, f64)> {
    let start = Instant::now();
    let mut command = Command::new(built);
    command.args([target, "--seed", "0", "--runs", &runs.to_string()]);
    command.env_remove(WAKE).env("RUST_BACKTRACE", "0");
    if let Some(name) = woken {
        command.env(WAKE, name);
    }
    let output = command.output().context("a target that was built starts")?;
    Ok((output, start.elapsed().as_secs_f64()))
}

/// Builds the runner of a copy; where it is.
fn build(copy: &Path, tree: &Path) -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // The whole workspace, because its libraries are then those of every other build.
    command.current_dir(copy).args(["build", "--workspace", "--bin", "continuant-fuzz"]);
    command.args(["--message-format", "json-render-diagnostics"]);
    if env::var_os("CARGO_TARGET_DIR").is_none() {
        command.env("CARGO_TARGET_DIR", tree.join("target").join("canaries"));
    }
    let output = command.output().context("cargo starts")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "a build with canaries fails: {said}");
    let built = told.rsplit_once("\"executable\":\"").and_then(|(_, rest)| rest.split_once('"'));
    let (built, _) = built.context("cargo says what it built")?;
    Ok(PathBuf::from(built))
}

fn copy_tree(from: &Path, to: &Path, left_out: &[&str]) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name();
        if left_out.iter().any(|left| name == *left) {
            continue;
        }
        match entry.file_type()? {
            kind if kind.is_dir() => copy_tree(&entry.path(), &to.join(name), &[])?,
            kind if kind.is_file() => {
                // Not `fs::copy`: the copied sources must be newer than any build of the tree.
                fs::write(to.join(name), fs::read(entry.path())?)?;
            }
            _ => {}
        }
    }
    Ok(())
}
