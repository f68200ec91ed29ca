//! Messages on their way: in the order in which they were sent, until each is taken once, with any
//! files lost or retention in between.

use std::collections::{BTreeMap, VecDeque};

use continuant_storage::{
    Append, ErrorKind, Fate, MessageId, Options, Retention, Sending, Store, Taking,
};
use object::hash::ObjectId;
use object::limits::FUEL_MAX;
use object::message::{Message, fuel_share};
use object::time::Time;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use crate::author::{Author, Made, append, assert_sound, reopen, small};

pub(crate) fn message(to: ObjectId, number: u64) -> Message {
    Message { to, method: "hear".to_string(), arguments: number.to_le_bytes().to_vec() }
}

/// Appends a version that sends messages, and marks some others as taken.
pub(crate) fn append_sent(
    store: &Store,
    author: &Author,
    made: &Made,
    messages: &[Message],
    taken: Vec<Taking>,
) -> continuant_storage::Result<()> {
    let receivers = messages.iter().map(|message| message.to).collect();
    let sent = vec![Sending { version: author.head.hash, receivers }];
    let append = Append { changes: vec![made.change()], sent, taken, ..Append::default() };
    store.commit(&append).map(drop)
}

fn take(store: &Store, taken: Vec<Taking>) -> continuant_storage::Result<()> {
    store.commit(&Append { taken, ..Append::default() }).map(drop)
}

fn authors(store: &Store, count: u64) -> Vec<Author> {
    let made = |seed| {
        let (author, genesis) = Author::new(seed);
        append(store, &[genesis], &[]).unwrap();
        author
    };
    (0..count).map(made).collect()
}

#[test]
fn a_message_says_where_it_is_from_and_what_it_may_use() {
    let directory = TempDir::new().unwrap();
    let store = small().open(directory.path().join("db")).unwrap();
    let mut authors = authors(&store, 2);
    let to = authors[1].head.id;
    let messages = vec![message(to, 1), message(to, 2)];
    let made = authors[0].send(messages.clone());
    append_sent(&store, &authors[0], &made, &messages, vec![]).unwrap();
    for (index, expected) in messages.iter().enumerate() {
        let found = store.next_messages(to).unwrap().swap_remove(0);
        let (head, origin) = (&authors[0].head, &found.origin);
        assert_eq!(found.message, *expected);
        assert_eq!((origin.sender, origin.seq, origin.version), (head.id, 1, head.hash));
        assert_eq!((origin.code, origin.policy), (head.header.code, head.header.policy));
        assert_eq!(origin.index as usize, index);
        assert_eq!(origin.fuel, fuel_share(FUEL_MAX, head.header.fuel, 2));
        take(&store, vec![Taking { id: found.id, fate: Fate::Delivered }]).unwrap();
    }
    assert!(store.next_messages(to).unwrap().is_empty());
    assert_eq!((store.message_count(), store.receivers().len()), (0, 0));
}

#[test]
fn a_message_is_taken_once_and_with_it_nothing_else_happens() {
    let directory = TempDir::new().unwrap();
    let store = small().open(directory.path().join("db")).unwrap();
    let mut authors = authors(&store, 2);
    let to = authors[1].head.id;
    let messages = [message(to, 1)];
    let made = authors[0].send(messages.to_vec());
    append_sent(&store, &authors[0], &made, &messages, vec![]).unwrap();
    let id = store.messages_to(to)[0];
    let taking = Taking { id, fate: Fate::Dead("no".to_string()) };
    take(&store, vec![taking.clone()]).unwrap();
    let before = authors[0].head.hash;
    let made = authors[0].send(messages.to_vec());
    let error =
        append_sent(&store, &authors[0], &made, &messages, vec![taking.clone()]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict { .. }), "{error}");
    assert!(take(&store, vec![taking]).is_err());
    let head = store.head(authors[0].head.id).unwrap().unwrap().head;
    assert_eq!((head.hash, store.message_count()), (before, 0), "all of it or nothing");
    let dead = store.dead_letters(None, 10).unwrap();
    assert_eq!((dead.len(), &dead[0].why[..], dead[0].seq), (1, "no", 1));
    assert_eq!(dead[0].message.as_ref(), Some(&messages[0]));
    assert_sound(&store);
}

/// Regression: the frame and the index had different reasons, and `check` reported damage.
#[test]
fn a_long_reason_is_cut_everywhere() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().open(&path).unwrap();
    let mut authors = authors(&store, 1);
    let to = authors[0].head.id;
    let messages = [message(to, 1)];
    let made = authors[0].send(messages.to_vec());
    append_sent(&store, &authors[0], &made, &messages, vec![]).unwrap();
    let fate = Fate::Dead("\u{e9}".repeat(3000));
    take(&store, vec![Taking { id: store.messages_to(to)[0], fate }]).unwrap();
    let why = |store: &Store| store.dead_letters(None, 1).unwrap().swap_remove(0).why;
    let before = why(&store);
    assert_eq!(before, "\u{e9}".repeat(512));
    assert_sound(&store);
    drop(store);
    Options::new().rebuild_index(&path).unwrap();
    let store = small().open(&path).unwrap();
    assert_eq!(why(&store), before);
    assert_sound(&store);
}

/// Regression: a message to nobody was lost for good: its dead letter could only be looked at.
#[test]
fn a_dead_letter_is_on_its_way_again_or_dropped_once() {
    let directory = TempDir::new().unwrap();
    let mut path = directory.path().join("db");
    let mut store = small().open(&path).unwrap();
    let mut authors = authors(&store, 1);
    let to = ObjectId([9; 32]);
    let messages = [message(to, 1), message(to, 2)];
    let made = authors[0].send(messages.to_vec());
    append_sent(&store, &authors[0], &made, &messages, vec![]).unwrap();
    let sent: Vec<_> = store.next_messages(to).unwrap();
    let kill = |store: &Store| {
        let dead = |id| Taking { id, fate: Fate::Dead("nobody".to_string()) };
        take(store, store.messages_to(to).into_iter().map(dead).collect()).unwrap();
    };
    kill(&store);
    for round in 0..4 {
        let letters = store.dead_letters(None, 10).unwrap();
        assert_eq!(letters.len(), 2, "round {round}");
        let first = letters[0].id;
        assert_eq!(store.dead_letter(first).unwrap().unwrap().token(), letters[0].token());
        if round % 2 == 1 {
            store.checkpoint().unwrap();
        }
        store.retry_dead_letter(first).unwrap();
        assert!(store.dead_letter(first).unwrap().is_none());
        assert_eq!(store.dead_letters(None, 1).unwrap()[0].id, letters[1].id, "a page of one");
        let again = store.next_messages(to).unwrap();
        assert_eq!(again.len(), 1);
        assert_eq!((again[0].id, again[0].origin), (first, sent[0].origin), "as it was");
        assert_eq!(again[0].message, messages[0]);
        store.sync().unwrap();
        store = reopen(store, &mut path, round < 2);
        assert_eq!(store.messages_to(to), [first], "round {round}");
        assert_sound(&store);
        kill(&store);
        assert_sound(&store);
    }
    let letters = store.dead_letters(None, 10).unwrap();
    store.drop_dead_letter(letters[0].id).unwrap();
    store.sync().unwrap();
    store = reopen(store, &mut path, true);
    assert_eq!(store.dead_letters(None, 10).unwrap().len(), 1);
    store.drop_dead_letter(letters[1].id).unwrap();
    store.checkpoint().unwrap();
    assert!(store.dead_letters(None, 10).unwrap().is_empty());
    assert_eq!(store.message_count(), 0);
    assert_sound(&store);
    drop(store);
    Options::new().rebuild_index(&path).unwrap();
    let store = small().open(&path).unwrap();
    assert!(store.dead_letters(None, 10).unwrap().is_empty());
    assert_sound(&store);
}

/// The messages that a store should have: those on their way, by receiver, and dead letters.
#[derive(Default)]
struct Model {
    waiting: BTreeMap<ObjectId, VecDeque<u64>>,
    dead: Vec<(ObjectId, u64)>,
}

impl Model {
    /// Sends a dead letter on its way again, or drops it, now and then.
    fn let_go(&mut self, store: &Store, rng: &mut StdRng) {
        let dead = store.dead_letters(None, usize::MAX).unwrap();
        if dead.is_empty() || rng.random_bool(0.7) {
            return;
        }
        let letter = &dead[rng.random_range(0..dead.len())];
        let number: u64 = letter.why.parse().unwrap();
        let at = self.dead.iter().position(|dead| *dead == (letter.id.to, number)).unwrap();
        self.dead.swap_remove(at);
        match rng.random_bool(0.5) {
            true => {
                store.retry_dead_letter(letter.id).unwrap();
                let waiting = self.waiting.entry(letter.id.to).or_default();
                // The message returns to its old place: numbers ascend in the order of sending.
                waiting.insert(waiting.partition_point(|other| *other < number), number);
            }
            false => store.drop_dead_letter(letter.id).unwrap(),
        }
        store.sync().unwrap();
        let error = store.retry_dead_letter(letter.id).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotFound { .. }), "once: {error}");
        assert!(store.drop_dead_letter(letter.id).is_err(), "once");
    }

    fn compare(&self, store: &Store, seed: u64) {
        let waiting: BTreeMap<_, _> =
            self.waiting.iter().filter(|(_, numbers)| !numbers.is_empty()).collect();
        assert!(store.receivers().iter().eq(waiting.keys().copied()), "seed {seed}");
        for (to, numbers) in waiting {
            assert_eq!(store.messages_to(*to).len(), numbers.len(), "seed {seed}");
            for (found, expected) in store.next_messages(*to).unwrap().iter().zip(numbers) {
                assert_eq!(number(&found.message), *expected, "seed {seed}");
            }
        }
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = store.dead_letters(after, 3).unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            found.extend(page);
        }
        assert_eq!(found.len(), self.dead.len(), "seed {seed}");
        for dead in found {
            let to = dead.id.to;
            let number = dead.why.parse().unwrap();
            assert!(self.dead.contains(&(to, number)), "seed {seed}");
            assert_eq!(dead.message, Some(message(to, number)), "seed {seed}");
        }
    }
}

fn number(message: &Message) -> u64 {
    u64::from_le_bytes(message.arguments[..].try_into().unwrap())
}

/// Work with messages, through restarts, crashes, lost indexes and compactions that let go all of
/// the history that they may.
#[test]
fn messages_are_as_the_model_says_whatever_happens_to_the_store() {
    let seeds = if std::env::var_os("RUN_SLOW_TESTS").is_some() { 60 } else { 4 };
    for seed in 0..seeds {
        let mut rng = StdRng::seed_from_u64(seed);
        let directory = TempDir::new().unwrap();
        let mut path = directory.path().join("db");
        let mut store = small().recent_rows_max(2).open(&path).unwrap();
        let mut authors = authors(&store, 4);
        let mut receivers: Vec<ObjectId> = authors.iter().map(|author| author.head.id).collect();
        receivers.push(ObjectId([9; 32]));
        let (mut model, mut sent) = (Model::default(), 0);
        store.set_retention(None, Retention::Versions(1)).unwrap();
        for _ in 0..150 {
            let index = rng.random_range(0..authors.len());
            let author = &mut authors[index];
            let messages = (0..rng.random_range(0..4)).map(|_| {
                sent += 1;
                message(receivers[rng.random_range(0..receivers.len())], sent)
            });
            let messages: Vec<Message> = messages.collect();
            let made = author.send(messages.clone());
            let mut taken = Vec::new();
            for to in &receivers {
                let waiting = model.waiting.entry(*to).or_default();
                for id in some(&mut rng, store.messages_to(*to)) {
                    let number = waiting.pop_front().unwrap();
                    let fate = match rng.random_bool(0.2) {
                        true => Fate::Dead(number.to_string()),
                        false => Fate::Delivered,
                    };
                    if matches!(fate, Fate::Dead(_)) {
                        model.dead.push((*to, number));
                    }
                    taken.push(Taking { id, fate });
                }
            }
            append_sent(&store, author, &made, &messages, taken).unwrap();
            for message in &messages {
                model.waiting.entry(message.to).or_default().push_back(number(message));
            }
            let made = author.step();
            append(&store, &[made], &[]).unwrap();
            model.let_go(&store, &mut rng);
            match rng.random_range(0..30) {
                0 => store.checkpoint().unwrap(),
                1 => drop(store.compact(Time::MIN, |_, _| {}).unwrap()),
                what @ (2 | 3) => store = reopen(store, &mut path, what == 2),
                4 => assert_sound(&store),
                _ => continue,
            }
            model.compare(&store, seed);
        }
        model.compare(&store, seed);
        assert_sound(&store);
    }
}

fn some(rng: &mut StdRng, mut all: Vec<MessageId>) -> Vec<MessageId> {
    all.truncate(rng.random_range(0..3));
    all
}
