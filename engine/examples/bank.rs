//! Accounts and transfers: calls of two objects that happen together or not at all.
//!
//! The accounts have no code of their own for transfers, and no lock: the database admits both
//! halves of a transaction by the policies of both accounts, or neither.

use std::io::{self, Write};
use std::path::Path;
use std::thread;

use continuant::{Code, Database, ObjectId, Receipt, args, samples};

/// The law of an account. Rules that forbid win over rules that permit.
const POLICY: &str = r#"
    @id("move")
    permit(principal, action in [Action::"increment", Action::"decrement"], resource);

    @id("overdraft")
    forbid(principal, action == Action::"decrement", resource)
    when { context.after.balance < 0 };
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    run(&directory.path().join("bank"), &mut io::stdout())
}

fn transfer(
    db: &Database,
    from: ObjectId,
    to: ObjectId,
    amount: u64,
) -> continuant::Result<Vec<Receipt>> {
    let take = db.call(from, "decrement", args![amount]);
    let give = db.call(to, "increment", args![amount]);
    db.transaction([take, give]).wait()
}

pub(crate) fn run(path: &Path, out: &mut impl Write) -> Result<(), Box<dyn std::error::Error>> {
    let db = Database::open(path)?;
    let open = |name: &str| -> continuant::Result<ObjectId> {
        let account = db.create(Code::wasm(samples::TALLY)?.policy(POLICY).name(name))?;
        db.call(account, "increment", args![100u64]).wait()?;
        Ok(account)
    };
    let accounts = [open("ada")?, open("ben")?, open("cyn")?];
    let [ada, ben, _] = accounts;

    transfer(&db, ada, ben, 30)?;
    writeln!(out, "ada paid ben 30")?;

    // The second half would be permitted, the first is not: so neither happens.
    let refused = transfer(&db, ada, ben, 500);
    let refused = refused.expect_err("ada has no 500");
    let verdict = refused.refusal().ok_or("the policy decides")?;
    writeln!(out, "ada did not pay ben 500: {verdict}")?;

    // A database is shared by reference among threads. Each thread moves 10 x 1 round the circle,
    // so that in the end everyone has what they had.
    thread::scope(|scope| {
        let movers = [0, 1, 2].map(|start| {
            let (from, to) = (accounts[start], accounts[(start + 1) % 3]);
            let db = &db;
            scope.spawn(move || (0..10).try_for_each(|_| transfer(db, from, to, 1).map(|_| ())))
        });
        movers.into_iter().try_for_each(|mover| mover.join().expect("a mover does not panic"))
    })?;

    let mut sum = 0;
    for (name, account) in ["ada", "ben", "cyn"].into_iter().zip(accounts) {
        let balance = db.snapshot(account)?.get::<i64>("balance")?;
        writeln!(out, "{name} has {balance}")?;
        sum += balance;
    }
    writeln!(out, "all of them have {sum}")?;
    Ok(())
}
