//! Schedules of the mailbox, the letters in flight and the idle workers, compiled a second time
//! with threads and locks whose order is drawn. In each of many schedules no letter is lost, an
//! object has one worker at a time, no worker sleeps while there is work for it, and nobody waits
//! for ever.
//!
//! Workers here do what turns do, and run nothing. The proof holds if every access is in the order
//! that all threads see: weaker memory orders are not drawn.

use std::collections::VecDeque;
use std::sync::Arc;

use ::schedules::{AtomicU64, Condvar, Mutex, MutexGuard, Ordering, prove, thread};
use parking_lot::Mutex as Plain;

use self::idle::Idle;
use self::in_flight::InFlight;
use self::mailbox::{Mail, Mailbox, Posted, PostedToAll};
use crate::error::ErrorKind;

#[expect(clippy::duplicate_mod, reason = "compiled a second time, with other locks")]
#[path = "idle.rs"]
mod idle;
#[expect(clippy::duplicate_mod, reason = "compiled a second time, with other locks")]
#[path = "in_flight.rs"]
mod in_flight;
#[expect(clippy::duplicate_mod, reason = "compiled a second time, with other locks")]
#[path = "mailbox.rs"]
mod mailbox;

/// The locks and conditions of these modules, in drawn schedules.
mod sync {
    pub(crate) use ::schedules::{
        AtomicU64, Condvar, Mutex as MailLock, Mutex as InFlightLock, Mutex as SleepLock, Ordering,
    };
}

/// An object: its mail, the number of its workers, and its taken letters, in order.
#[derive(Default)]
struct Object {
    mailbox: Mailbox<Letter>,
    working: AtomicU64,
    taken: Plain<Vec<u64>>,
}

/// Objects, their run queue, and the waiting threads.
struct Stage {
    objects: Vec<Object>,
    /// Places of objects; `None` sends a worker home.
    turns: Mutex<VecDeque<Option<usize>>>,
    queued: Condvar,
    in_flight: InFlight,
    /// Objects that wait at each transaction, and whether it was run.
    joined: Plain<Vec<Vec<usize>>>,
    /// Messages that were not delivered yet.
    sent: Plain<usize>,
    max: usize,
}

impl Stage {
    fn new(count: usize, max: usize) -> Arc<Stage> {
        Arc::new(Stage {
            objects: (0..count).map(|_| Object::default()).collect(),
            turns: Mutex::default(),
            queued: Condvar::default(),
            in_flight: InFlight::default(),
            joined: Plain::default(),
            sent: Plain::default(),
            max,
        })
    }

    fn push(&self, turn: Option<usize>) {
        let mut turns = self.turns.lock();
        let is_twice = turn.is_some() && turns.contains(&turn);
        assert!(!is_twice, "an object is on the run queue at most once");
        turns.push_back(turn);
        drop(turns);
        self.queued.notify_all();
    }

    /// Posts a letter as the database does; returns whether it was accepted.
    fn post(&self, place: usize, letter: Letter) -> bool {
        let number = letter.number;
        self.in_flight.begin();
        match self.objects[place].mailbox.post(letter, self.max) {
            Ok(Posted::Schedule) => self.push(Some(place)),
            Ok(Posted::Waiting) => {}
            Ok(Posted::Known) => self.in_flight.end(),
            Ok(Posted::Closed(given_back)) => {
                assert_eq!(given_back.number, number, "it is the letter");
                self.in_flight.end();
                return false;
            }
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::MailboxFull { .. }));
                self.in_flight.end();
                return false;
            }
        }
        true
    }

    /// Posts a transaction of the objects at these places, which are ascending.
    fn join(&self, places: &[usize], number: u64) {
        places.iter().for_each(|_| self.in_flight.begin());
        let mailboxes: Vec<_> = places.iter().map(|&place| &self.objects[place].mailbox).collect();
        match Mailbox::post_to_all(&mailboxes, |_| letter(number), self.max) {
            PostedToAll::Schedule(idle) => {
                idle.into_iter().for_each(|index| self.push(Some(places[index])));
            }
            PostedToAll::Closed(place) | PostedToAll::Full(place) => {
                unreachable!("there is room at {place}")
            }
        }
    }

    /// Takes turns until it is sent home.
    fn work(&self) {
        loop {
            let mut turns = self.turns.lock();
            let turn = loop {
                match turns.pop_front() {
                    Some(turn) => break turn,
                    None => self.queued.wait(&mut turns),
                }
            };
            drop(turns);
            match turn {
                Some(place) => self.turn(place),
                None => return,
            }
        }
    }

    /// A turn of two letters at most, which a transaction ends: the object waits there.
    fn turn(&self, place: usize) {
        self.in_flight.begin();
        let object = &self.objects[place];
        assert_eq!(object.working.fetch_add(1, Ordering::SeqCst), 0, "it has one worker");
        let mut reached = None;
        for _ in 0..2 {
            let Some(letter) = object.mailbox.take() else { break };
            let number = letter.number;
            object.taken.lock().push(number);
            if letter.is_word {
                *self.sent.lock() = 0;
            }
            self.in_flight.end();
            if number >= TRANSACTIONS {
                reached = Some(number);
                break;
            }
        }
        // An object that waits in a transaction has no worker, and stays scheduled.
        object.working.fetch_sub(1, Ordering::SeqCst);
        let present = reached.map_or(vec![place], |number| self.arrive(place, number));
        for place in present {
            if self.objects[place].mailbox.end_turn() {
                self.push(Some(place));
            }
        }
        self.in_flight.end();
    }

    /// Returns the objects of a transaction, to the last of the two that reach it.
    fn arrive(&self, place: usize, number: u64) -> Vec<usize> {
        let mut joined = self.joined.lock();
        let index = (number - TRANSACTIONS) as usize;
        let count = joined.len().max(index + 1);
        joined.resize_with(count, Vec::new);
        joined[index].push(place);
        if joined[index].len() == 2 { joined[index].clone() } else { Vec::new() }
    }

    fn taken(&self, place: usize) -> Vec<u64> {
        self.objects[place].taken.lock().clone()
    }
}

/// Letters with a number from here on are of transactions.
const TRANSACTIONS: u64 = 1000;

/// A letter with a number: of somebody, or the word of mail.
struct Letter {
    number: u64,
    is_word: bool,
}

impl Mail for Letter {
    fn is_own(&self) -> bool {
        self.is_word
    }

    fn is_word_of_mail(&self) -> bool {
        self.is_word
    }
}

fn letter(number: u64) -> Letter {
    Letter { number, is_word: false }
}

fn word(number: u64) -> Letter {
    Letter { number, is_word: true }
}

/// Starts a thread for each of these, with the shared state.
fn threads<S, D>(all: &Arc<S>, each: impl IntoIterator<Item = D>) -> Vec<thread::JoinHandle<()>>
where
    S: Send + Sync + 'static,
    D: FnOnce(&S) + Send + 'static,
{
    let spawn = |work: D| {
        let all = Arc::clone(all);
        thread::spawn(move || work(&all))
    };
    each.into_iter().map(spawn).collect()
}

fn join(threads: Vec<thread::JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
}

/// The work of a posting thread.
type Poster = Box<dyn FnOnce(&Stage) + Send>;

/// Runs these beside two workers until no letter is in flight, and sends the workers home.
fn play(stage: &Arc<Stage>, posters: Vec<Poster>) {
    let workers = threads(stage, [Stage::work; 2]);
    join(threads(stage, posters));
    assert!(stage.in_flight.wait(|| false));
    assert_eq!(stage.in_flight.count(), 0);
    workers.iter().for_each(|_| stage.push(None));
    join(workers);
}

#[test]
fn no_letter_is_lost_nor_taken_twice_and_an_object_has_one_worker() {
    prove(|| {
        let stage = Stage::new(1, 100);
        let post = |from: u64| -> Poster {
            Box::new(move |stage| {
                (from..from + 3).for_each(|number| assert!(stage.post(0, letter(number))));
            })
        };
        play(&stage, vec![post(0), post(10)]);
        let taken = stage.taken(0);
        for from in [0, 10] {
            let of = taken.iter().filter(|number| (from..from + 3).contains(*number));
            assert!(of.copied().eq(from..from + 3), "in the order of whoever posted: {taken:?}");
        }
        assert_eq!(taken.len(), 6);
        assert!(stage.objects[0].mailbox.close(|| true), "it is idle");
    });
}

#[test]
fn a_word_of_mail_waits_once_and_is_never_missed() {
    prove(|| {
        let stage = Stage::new(1, 1);
        let post = |number: u64| -> Poster {
            Box::new(move |stage| {
                stage.post(0, letter(7));
                // A message is there before the note of it.
                *stage.sent.lock() += 1;
                assert!(stage.post(0, word(number)), "it is never turned away");
            })
        };
        play(&stage, vec![post(1), post(2)]);
        assert_eq!(*stage.sent.lock(), 0, "all were delivered");
        let taken = stage.taken(0);
        let words = taken.iter().filter(|number| **number != 7).count();
        assert!((1..=2).contains(&words) && taken.len() > words, "{taken:?}");
    });
}

#[test]
fn transactions_meet_in_the_same_order_everywhere_so_nobody_waits_in_a_circle() {
    prove(|| {
        let stage = Stage::new(3, 100);
        let post = |places: [usize; 2], number: u64| -> Poster {
            Box::new(move |stage| {
                assert!(stage.post(places[1], letter(number)));
                stage.join(&places, TRANSACTIONS + number);
            })
        };
        play(&stage, vec![post([0, 1], 0), post([1, 2], 1), post([0, 2], 2)]);
        let joined = stage.joined.lock().clone();
        assert!(joined.iter().all(|places| places.len() == 2), "each was run: {joined:?}");
    });
}

#[test]
fn an_object_leaves_memory_when_idle_and_its_letters_are_given_back() {
    prove(|| {
        let stage = Stage::new(1, 100);
        let taken_in = Arc::new(Plain::new(0));
        let of_poster = Arc::clone(&taken_in);
        let post: Poster = Box::new(move |stage| {
            let posted = (0..3).filter(|number| stage.post(0, letter(*number))).count();
            *of_poster.lock() = posted;
        });
        let close: Poster = Box::new(|stage| {
            let object = &stage.objects[0];
            if object.mailbox.close(|| true) {
                assert_eq!(object.working.load(Ordering::SeqCst), 0, "nobody works on it");
            }
        });
        play(&stage, vec![post, close]);
        assert_eq!(stage.taken(0).len(), *taken_in.lock());
    });
}

#[test]
fn a_letter_that_is_put_back_is_taken_again() {
    prove(|| {
        let stage = Stage::new(1, 100);
        let post: Poster = Box::new(|stage| {
            assert!(stage.post(0, letter(1)));
            assert!(stage.post(0, word(2)));
        });
        // The turn of an object whose letters fill more than one turn.
        let first: Poster = Box::new(|stage| {
            let mut turns = stage.turns.lock();
            let Some(Some(place)) = turns.pop_front() else { return };
            drop(turns);
            let mailbox = &stage.objects[place].mailbox;
            let letter = mailbox.take().expect("it was scheduled");
            assert!(mailbox.put_back(letter), "there is no other word of mail");
            if mailbox.end_turn() {
                stage.push(Some(place));
            }
        });
        play(&stage, vec![post, first]);
        assert_eq!(stage.taken(0), [1, 2]);
    });
}

/// Three workers with a run queue each, and errands for any of them, as the pool has.
struct Workers {
    idle: Idle,
    queues: [Mutex<VecDeque<Turn>>; 3],
    errands: Mutex<VecDeque<Turn>>,
    stopped: AtomicU64,
    in_flight: InFlight,
}

/// The work of a turn, and how often it is put back.
struct Turn {
    work: Box<dyn Fn() + Send>,
    again: u32,
}

impl Workers {
    fn new() -> Arc<Workers> {
        let (queues, errands, stopped, in_flight) = Default::default();
        Arc::new(Workers { idle: Idle::new(3), queues, errands, stopped, in_flight })
    }

    fn push(&self, place: usize, again: u32, work: impl Fn() + Send + 'static) {
        self.in_flight.begin();
        self.queues[place].lock().push_back(Turn { work: Box::new(work), again });
        self.idle.tell(place);
    }

    fn push_errand(&self, work: impl Fn() + Send + 'static) {
        self.in_flight.begin();
        self.errands.lock().push_back(Turn { work: Box::new(work), again: 0 });
        self.idle.tell_any();
    }

    /// Puts a turn back as the pool does, without telling anybody when nothing else waits there.
    fn put_back(&self, place: usize, turn: Turn) {
        let others_wait = !self.queues[place].lock().is_empty();
        self.queues[place].lock().push_back(turn);
        if others_wait {
            self.idle.tell(place);
        }
    }

    fn find(&self, place: usize) -> Option<Turn> {
        let errand = self.errands.lock().pop_front();
        let places = place..place + 3;
        errand.or_else(|| places.into_iter().find_map(|at| self.queues[at % 3].lock().pop_front()))
    }

    fn has_work(&self) -> bool {
        let mut queues = self.queues.iter().chain([&self.errands]);
        queues.any(|queue| !queue.lock().is_empty())
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst) == 1
    }

    fn next(&self, place: usize) -> Option<Turn> {
        if let Some(turn) = self.find(place) {
            return Some(turn);
        }
        self.idle.search(place);
        while !self.is_stopped() {
            if let Some(turn) = self.find(place) {
                self.idle.begin(place, || self.has_work());
                return Some(turn);
            }
            self.idle.sleep(place, || self.has_work() || self.is_stopped());
        }
        None
    }

    /// Takes turns until all are stopped.
    fn work(&self, place: usize) {
        while let Some(Turn { work, again }) = self.next(place) {
            work();
            match again.checked_sub(1) {
                Some(again) => self.put_back(place, Turn { work, again }),
                None => self.in_flight.end(),
            }
        }
    }

    /// Runs these beside the workers until no letter is in flight, and stops the workers.
    fn play(self: &Arc<Workers>, posters: Vec<fn(&Workers)>) {
        let work = |place| move |all: &Workers| all.work(place);
        let workers = threads(self, (0..3).map(work));
        join(threads(self, posters));
        assert!(self.in_flight.wait(|| false));
        self.stopped.store(1, Ordering::SeqCst);
        self.idle.tell_all();
        join(workers);
        assert!(!self.has_work());
    }
}

#[test]
fn no_worker_sleeps_while_there_is_work_that_nobody_comes_for() {
    prove(|| {
        let workers = Workers::new();
        workers.play(vec![
            |workers| [0, 2].into_iter().for_each(|again| workers.push(0, again, || {})),
            |workers| {
                workers.push(1, 1, || {});
                workers.push_errand(|| {});
                workers.push(0, 0, || {});
            },
        ]);
    });
}

#[test]
fn what_waits_for_a_busy_worker_is_done_by_another() {
    prove(|| {
        let workers = Workers::new();
        workers.play(vec![|workers| {
            let met = Arc::new((Mutex::default(), Condvar::default()));
            // Each of three is done only when the others have begun, in any order.
            for _ in 0..3 {
                let met = Arc::clone(&met);
                workers.push(0, 0, move || {
                    let (count, changed) = &*met;
                    let mut count: MutexGuard<'_, u32> = count.lock();
                    *count += 1;
                    changed.notify_all();
                    while *count < 3 {
                        changed.wait(&mut count);
                    }
                });
            }
        }]);
    });
}
