//! Fleets: upgrades of many objects, one after the other.
//!
//! This module does not know how states are migrated. Each object's upgrade is an input of its own,
//! which its own policy decides on, independent of the others.

use std::collections::{HashMap, VecDeque};

use object::credential::SigningKey;
use object::hash::{CodeHash, ObjectId, PolicyHash};
use object::input::Request;
use query::Objects;
use storage::ObjectInfo;

use crate::answer::receipt::Receipt;
use crate::answer::reply::Pending;
use crate::ask::batch::Batch;
use crate::ask::call::Call;
use crate::commit::shared::Shared;
use crate::commit::upgrade::{Upgrade, request};
use crate::error::Result;

/// Upgrades that are posted together, and signed together. Twice as many are under way at most.
const TOGETHER: usize = 512;

/// Upgrades of all objects of a code, in the order of their ids: sign them if need be, and iterate.
///
/// The [list](crate#lists) has each object with its outcome. Several upgrades are in progress at a
/// time, so that none waits for the disk: more than were returned, unless there is a
/// [`limit`](Fleet::limit). An object whose upgrade is refused, or fails, stays unchanged and does
/// not stop the others. Objects that have the new code already are skipped, so after a stop, or a
/// crash, a new fleet continues where the last one was; refused upgrades are then tried again.
///
/// ```no_run
/// # use continuant::{CodeHash, Database, Result, SigningKey, Upgrade};
/// # fn roll_out(db: &Database, old: CodeHash, new: &Upgrade, key: &SigningKey) -> Result<()> {
/// for upgraded in db.upgrade_all(old, new).signed(key) {
///     let (object, outcome) = upgraded?;
///     if let Err(error) = outcome {
///         println!("{object} stays as it is: {error}");
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is upgraded before it is iterated over"]
pub struct Fleet<'a> {
    shared: &'a Shared,
    to: Upgrade,
    keys: Vec<&'a SigningKey>,
    even_if_ahead: bool,
    objects: Objects<'a>,
    /// The requests to objects, by the policies that they have.
    requests: HashMap<PolicyHash, Result<Request>>,
    under_way: VecDeque<(ObjectId, Pending)>,
    ended: bool,
}

impl<'a> Fleet<'a> {
    pub(crate) fn new(shared: &'a Shared, from: CodeHash, to: &Upgrade) -> Fleet<'a> {
        let (keys, even_if_ahead, requests, under_way) = Default::default();
        let objects = Objects::new(&shared.library.store).code(from).living();
        let (to, ended) = (to.clone(), to.code() == from);
        Fleet { shared, to, keys, even_if_ahead, objects, requests, under_way, ended }
    }

    /// Signs the upgrades with `key`, many with one signature; call it again for each further
    /// signer.
    pub fn signed(mut self, key: &'a SigningKey) -> Fleet<'a> {
        self.keys.push(key);
        self
    }

    /// Lets the upgrades in of objects that are ahead of the clock, as
    /// [`Call::even_if_ahead`] does.
    pub fn even_if_ahead(mut self) -> Fleet<'a> {
        self.even_if_ahead = true;
        self
    }

    /// Selects objects whose ids come after `last`, as [`Objects::after`] does.
    pub fn after(mut self, last: impl Into<Option<ObjectId>>) -> Fleet<'a> {
        self.objects = self.objects.after(last);
        self
    }

    /// Selects at most `count` objects: of the others none is upgraded.
    pub fn limit(mut self, count: usize) -> Fleet<'a> {
        self.objects = self.objects.limit(count);
        self
    }

    fn request(&mut self, info: &ObjectInfo) -> Result<Request> {
        // With a new policy all objects have the same request, so the old policy does not matter.
        let has = self.to.policy.as_ref().map_or(info.policy, |_| PolicyHash::default());
        let (shared, to) = (self.shared, &self.to);
        let max = shared.options.memory_bytes_max;
        let make = || request(&shared.library, &shared.post.queue, to, has, max);
        self.requests.entry(has).or_insert_with(make).clone()
    }

    /// Posts the next upgrades.
    fn post(&mut self) -> Result<()> {
        let (mut calls, mut objects) = (Vec::new(), Vec::new());
        for _ in 0..TOGETHER {
            let Some(info) = self.objects.next().transpose()? else {
                self.ended = true;
                break;
            };
            let request = self.request(&info);
            objects.push((info.id, request.as_ref().err().cloned()));
            calls.extend(request.map(|request| {
                let call = Call::new(self.shared, info.id, Ok(request));
                if self.even_if_ahead { call.even_if_ahead() } else { call }
            }));
        }
        let posted = match &self.keys[..] {
            [] => Ok(calls.into_iter().map(submit).collect()),
            _ if calls.is_empty() => Ok(Vec::new()),
            keys => {
                let batch = Batch::new(calls);
                keys.iter().fold(batch, |batch, key| batch.signed(key)).submit()
            }
        };
        let (posted, failed) = match posted {
            Ok(posted) => (posted, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let mut posted = posted.into_iter();
        for (id, error) in objects {
            let pending = match error.or(failed.clone()) {
                Some(error) => Pending::failed(error.about(id)),
                None => posted.next().expect("each that has a request was posted"),
            };
            self.under_way.push_back((id, pending));
        }
        Ok(())
    }
}

fn submit(call: Call<'_>) -> Pending {
    call.submit().unwrap_or_else(Pending::failed)
}

impl Iterator for Fleet<'_> {
    type Item = Result<(ObjectId, Result<Receipt>)>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.under_way.len() <= TOGETHER && !self.ended {
            if let Err(error) = self.post() {
                self.ended = true;
                return Some(Err(error));
            }
        }
        let (id, pending) = self.under_way.pop_front()?;
        Some(Ok((id, pending.wait())))
    }
}
