//! The cost of a durable transfer between two accounts, from many clients at once: a transaction of
//! two objects, each of whose policies admits its own step.
//!
//! This bench does not know how a transaction is run.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use continuant::{Code, Database, ObjectId, Options, Pending, Receipt, args};

use crate::commits::{By, committers};
use crate::figure::{Figure, Peer, Samples, Unit};
use crate::floor;
use crate::frames::Frames;
use crate::numbers::Numbers;
use crate::sizes::Sizes;

/// The figure of transfers between any accounts.
pub const UNIFORM: &str = "transfer.durable.uniform";
/// The name of the figure of transfers that few accounts dominate.
pub const ZIPF: &str = "transfer.durable.zipf";
pub(crate) const UNIFORM_P99: &str = "transfer.durable.uniform.p99";
pub(crate) const ZIPF_P99: &str = "transfer.durable.zipf.p99";

/// Clients, each with [`IN_FLIGHT`] transfers under way.
pub const CLIENTS: usize = 64;
/// Transfers of a client that are under way.
pub const IN_FLIGHT: usize = 40;
/// The initial balance of each account.
pub const BALANCE: u64 = 1 << 40;

/// An account: `create(balance)`, `withdraw(amount)`, `deposit(amount)`.
const SCHEMA: &str = "package bench:account; interface account { record state { balance: u64 } \
                      create: func(balance: u64); withdraw: func(amount: u64); \
                      deposit: func(amount: u64); }";
const BODY: &str = r#"
    (memory (export "memory") 1 1)
    (global (export "state") i32 (i32.const 4096))
    (func (export "create") (param i64) (i64.store (i32.const 4096) (local.get 0)))
    (func (export "withdraw") (param i64)
        (i64.store (i32.const 4096) (i64.sub (i64.load (i32.const 4096)) (local.get 0))))
    (func (export "deposit") (param i64)
        (i64.store (i32.const 4096) (i64.add (i64.load (i32.const 4096)) (local.get 0))))"#;

/// Nobody withdraws more than there is, and a balance moves by exactly the amount.
const POLICY: &str = r#"
    @id("withdraw")
    permit(principal, action == Action::"withdraw", resource)
    when { context.input.amount <= context.before.balance };
    @id("deposit")
    permit(principal, action == Action::"deposit", resource);
    @id("exact")
    forbid(principal, action in [Action::"withdraw", Action::"deposit"], resource)
    unless {
        if action == Action::"deposit" then
            context.after.balance == context.before.balance + context.input.amount
        else
            context.after.balance == context.before.balance - context.input.amount
    };"#;

/// The distribution of accounts in transfers.
#[derive(Debug)]
pub enum Draw {
    /// Any two.
    Uniform,
    /// Sums of the weights `1 / rank^1.5`.
    Zipf(Vec<f64>),
}

/// A transfer to be made.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// The place of the account that pays.
    pub from: usize,
    /// The place of the account that is paid.
    pub to: usize,
    /// The amount, below 100.
    pub amount: u64,
}

impl Draw {
    /// The account of rank n is drawn as often as n^-1.5.
    pub fn zipf(count: usize) -> Draw {
        let mut sum = 0.0;
        let sums = (1..=count).map(|rank| {
            sum += (rank as f64).powf(-1.5);
            sum
        });
        Draw::Zipf(sums.collect())
    }

    fn account(&self, numbers: &mut Numbers, count: usize) -> usize {
        match self {
            Draw::Uniform => numbers.below(count),
            Draw::Zipf(sums) => {
                let all = sums[sums.len() - 1];
                let wanted = numbers.next() as f64 / u64::MAX as f64 * all;
                sums.partition_point(|&sum| sum < wanted).min(count - 1)
            }
        }
    }

    /// The transfers of one client, between two different ones of `count` accounts each, without
    /// end; of the same seed they are the same.
    ///
    /// # Panics
    ///
    /// When there are fewer than two accounts.
    pub fn transfers(&self, seed: u64, count: usize) -> impl Iterator<Item = Transfer> {
        assert!(count > 1, "a transfer is between two");
        let mut numbers = Numbers(seed);
        std::iter::repeat_with(move || {
            let from = self.account(&mut numbers, count);
            let mut to = from;
            while to == from {
                to = self.account(&mut numbers, count);
            }
            Transfer { from, to, amount: numbers.next() % 100 }
        })
    }
}

/// A database of accounts.
#[derive(Debug)]
pub struct Accounts {
    db: Database,
    ids: Vec<ObjectId>,
    frames: Frames,
    directory: tempfile::TempDir,
}

/// The measurement of a round of transfers.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Transfers in a second.
    pub rate: f64,
    /// Milliseconds from the submission to the reply, of the slowest hundredth.
    pub p99: f64,
    /// Transfers in a second if appending the bytes were all: the same groups, one write and
    /// fdatasync each, to a preallocated file.
    pub floor: f64,
}

impl Accounts {
    /// Opens `count` accounts, with [`BALANCE`] each.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub fn open(count: usize) -> Result<Accounts> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("db");
        let db = Options::new().mailbox_max(CLIENTS * IN_FLIGHT).open(&path)?;
        let ids = open_accounts(&db, count)?;
        Ok(Accounts { db, ids, frames: Frames::new(&path), directory })
    }

    /// Makes `count` transfers, until the last is durable.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub fn round(&mut self, draw: &Draw, count: usize, round: u64) -> Result<Round> {
        self.db.sync()?;
        self.frames.skip()?;
        let start = Instant::now();
        let mut took = transfers(&self.db, &self.ids, draw, count, round)?;
        let rate = took.len() as f64 / start.elapsed().as_secs_f64();
        took.sort_unstable();
        let p99 = took[took.len() * 99 / 100].as_secs_f64() * 1e3;
        let (appended, _) = floor::append_again(&self.frames, self.directory.path(), By::Group)?;
        let floor = took.len() as f64 / appended.iter().sum::<Duration>().as_secs_f64();
        Ok(Round { rate, p99, floor })
    }

    /// Checks that no money was made or lost.
    ///
    /// # Errors
    ///
    /// When it was, and those of the database.
    pub fn check(&self) -> Result<()> {
        let balance = |id: &ObjectId| Ok(self.db.snapshot(*id)?.get::<u64>("balance")?);
        let sum = self.ids.iter().map(balance).sum::<Result<u64>>()?;
        let expected = BALANCE * self.ids.len() as u64;
        ensure!(sum == expected, "the accounts have {sum} together, they began with {expected}");
        Ok(())
    }
}

/// The description of transfers between any accounts.
pub const ABOUT: &str = "a withdrawal and a deposit together, 64 clients with 40 under way each, \
                         any of the accounts, until the last is durable";
/// The description of transfers that few accounts dominate.
pub const ABOUT_ZIPF: &str = "the same, where the account of rank n is drawn as often as n^-1.5";
/// The description of [`Round::floor`].
pub const ABOUT_FLOOR: &str = "the same bytes in the same groups, one write and fdatasync a group, \
                               to a preallocated file";

/// Transfers of random pairs.
pub(crate) fn durable(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let mut accounts = Accounts::open(sizes.objects.max(2))?;
    let mut figures = Vec::new();
    for (draw, [name, p99], about) in [
        (Draw::Uniform, [UNIFORM, UNIFORM_P99], ABOUT),
        (Draw::zipf(sizes.objects.max(2)), [ZIPF, ZIPF_P99], ABOUT_ZIPF),
    ] {
        let (mut ours, mut slow, mut floor) = <(Samples, Samples, Samples)>::default();
        for round in 0..rounds as u64 {
            let measured = accounts.round(&draw, sizes.transfers, round)?;
            ours.push(measured.rate);
            slow.push(measured.p99);
            floor.push(measured.floor);
        }
        let vs = vec![Peer { name: "floor.append_fdatasync", about: ABOUT_FLOOR, samples: floor }];
        figures.push(Figure::new(name, about, Unit::TRANSFERS_PER_SECOND, ours, vs));
        let about = "from the submission to the reply, the slowest hundredth of a round";
        figures.push(Figure::new(p99, about, Unit::MILLISECONDS, slow, Vec::new()));
    }
    accounts.check()?;
    Ok(figures)
}

fn open_accounts(db: &Database, count: usize) -> Result<Vec<ObjectId>> {
    let module = format!(r#"(module (@custom "continuant:schema" "{SCHEMA}") {BODY})"#);
    let code = Code::wasm(wat::parse_str(module)?)?.policy(POLICY).args(args![BALANCE]);
    let mut accounts = Vec::with_capacity(count.min(1 << 20));
    let mut last = None;
    for _ in 0..count {
        let (id, pending) = db.begin_create(code.clone())?;
        accounts.push(id);
        last = Some(pending);
    }
    if let Some(last) = last {
        last.wait()?;
    }
    Ok(accounts)
}

/// The seed of a client's transfers.
fn seed(round: u64, thread: usize) -> u64 {
    round << 32 | thread as u64
}

/// Does `count` transfers; how long each took. A thread for each core stands for its share of the
/// clients: it waits for the transfer that it submitted the longest ago.
fn transfers(
    db: &Database,
    accounts: &[ObjectId],
    draw: &Draw,
    count: usize,
    round: u64,
) -> Result<Vec<Duration>> {
    let threads = committers();
    let (share, window) = (count.div_ceil(threads), (CLIENTS * IN_FLIGHT).div_ceil(threads));
    let client = |thread: usize| -> Result<Vec<Duration>> {
        let mut under_way: VecDeque<(Instant, Pending<Vec<Receipt>>)> = VecDeque::new();
        let mut took = Vec::with_capacity(share);
        for transfer in draw.transfers(seed(round, thread), accounts.len()).take(share) {
            if under_way.len() == window {
                took.extend(settle(under_way.pop_front())?);
            }
            let Transfer { from, to, amount } = transfer;
            let withdraw = db.call(accounts[from], "withdraw", args![amount]);
            let deposit = db.call(accounts[to], "deposit", args![amount]);
            let start = Instant::now();
            under_way.push_back((start, db.transaction([withdraw, deposit]).submit()?));
        }
        while !under_way.is_empty() {
            took.extend(settle(under_way.pop_front())?);
        }
        Ok(took)
    };
    std::thread::scope(|scope| {
        let clients = (0..threads).map(|thread| scope.spawn(move || client(thread)));
        let clients: Vec<_> = clients.collect();
        let mut all = Vec::with_capacity(count);
        for client in clients {
            all.append(&mut client.join().expect("a client does not panic")?);
        }
        Ok(all)
    })
}

fn settle(oldest: Option<(Instant, Pending<Vec<Receipt>>)>) -> Result<Option<Duration>> {
    let Some((start, pending)) = oldest else { return Ok(None) };
    pending.wait()?;
    Ok(Some(start.elapsed()))
}
