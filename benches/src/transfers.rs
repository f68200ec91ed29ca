//! What a transfer between two accounts costs, durable, from many clients at once: a transaction of
//! two objects, each of which has its own policy admit its own step.
//!
//! It does not know how a transaction is run.

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

pub(crate) const UNIFORM: &str = "transfer.durable.uniform";
pub(crate) const ZIPF: &str = "transfer.durable.zipf";
pub(crate) const UNIFORM_P99: &str = "transfer.durable.uniform.p99";
pub(crate) const ZIPF_P99: &str = "transfer.durable.zipf.p99";

/// Clients, each with so many transfers under way.
const CLIENTS: usize = 64;
const IN_FLIGHT: usize = 40;
const BALANCE: u64 = 1 << 40;

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

/// Which accounts a transfer is between.
enum Draw {
    Uniform,
    /// Sums of the weights `1 / rank^1.5`.
    Zipf(Vec<f64>),
}

impl Draw {
    fn zipf(count: usize) -> Draw {
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

    /// Two different ones.
    fn pair(&self, numbers: &mut Numbers, count: usize) -> [usize; 2] {
        let one = self.account(numbers, count);
        loop {
            let other = self.account(numbers, count);
            if other != one {
                return [one, other];
            }
        }
    }
}

/// Transfers of random pairs.
pub(crate) fn durable(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("db");
    let db = Options::new().mailbox_max(CLIENTS * IN_FLIGHT).open(&path)?;
    let accounts = open_accounts(&db, sizes.objects)?;
    let mut figures = Vec::new();
    let about = "a withdrawal and a deposit together, 64 clients with 40 under way each, any of \
                 the accounts, until the last is durable";
    let about_zipf = "the same, where the account of rank n is drawn as often as n^-1.5";
    for (draw, [name, p99], about) in [
        (Draw::Uniform, [UNIFORM, UNIFORM_P99], about),
        (Draw::zipf(accounts.len()), [ZIPF, ZIPF_P99], about_zipf),
    ] {
        let (mut ours, mut slow, mut floor) = <(Samples, Samples, Samples)>::default();
        let mut frames = Frames::new(&path);
        for round in 0..rounds as u64 {
            db.sync()?;
            frames.skip()?;
            let before = frames.clone();
            let start = Instant::now();
            let mut took = transfers(&db, &accounts, &draw, sizes.transfers, round)?;
            ours.push(took.len() as f64 / start.elapsed().as_secs_f64());
            took.sort_unstable();
            slow.push(took[took.len() * 99 / 100].as_secs_f64() * 1e3);
            let (appended, _) = floor::append_again(&before, directory.path(), By::Group)?;
            floor.push(took.len() as f64 / appended.iter().sum::<Duration>().as_secs_f64());
        }
        let floor_about = "the same bytes in the same groups, one write and fdatasync a group, to \
                           a preallocated file";
        let vs = vec![Peer { name: "floor.append_fdatasync", about: floor_about, samples: floor }];
        figures.push(Figure::new(name, about, Unit::TRANSFERS_PER_SECOND, ours, vs));
        let about = "from the submission to the reply, the slowest hundredth of a round";
        figures.push(Figure::new(p99, about, Unit::MILLISECONDS, slow, Vec::new()));
    }
    let balance = |id: &ObjectId| Ok(db.snapshot(*id)?.get::<u64>("balance")?);
    let sum = accounts.iter().map(balance).sum::<Result<u64>>()?;
    let expected = BALANCE * accounts.len() as u64;
    ensure!(sum == expected, "the accounts have {sum} together, they began with {expected}");
    Ok(figures)
}

fn open_accounts(db: &Database, count: usize) -> Result<Vec<ObjectId>> {
    let count = count.clamp(2, 1 << 20);
    let module = format!(r#"(module (@custom "continuant:schema" "{SCHEMA}") {BODY})"#);
    let code = Code::wasm(wat::parse_str(module)?)?.policy(POLICY).args(args![BALANCE]);
    let mut accounts = Vec::with_capacity(count);
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
        let mut numbers = Numbers(round << 32 | thread as u64);
        let mut under_way: VecDeque<(Instant, Pending<Vec<Receipt>>)> = VecDeque::new();
        let mut took = Vec::with_capacity(share);
        for _ in 0..share {
            if under_way.len() == window {
                took.extend(settle(under_way.pop_front())?);
            }
            let [from, to] = draw.pair(&mut numbers, accounts.len());
            let amount = numbers.next() % 100;
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
