//! Soundness of admission: nothing changes the memory, code, policy or schema of an object unless
//! its policy permits it: no call, write or wake of any signer, no forged commit or capsule.
//!
//! Vaults are compared with a model of a few lines. Most sequences go through the pure functions,
//! with a host that calls them as an engine does and a verifier that is shown the commits of the
//! host and of forgers; some go through a whole database.

mod whole;

use object::commit::Commit;
use object::effects::Admission;
use object::input::Input;
use object::limits::{NONCES_MAX, SIGNATURES_MAX};
use object::memory::Memory;
use object::refusal::{Reason, Refusal, Verdict};
use object::time::Time;
use policy::verify::Verifier;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::generate::lineage::START;
use crate::generate::source;
use crate::outcome::{Outcome, equal, hold, must};
use crate::tally::Tally;
use crate::vault::forged::{self, NATIVE};
use crate::vault::host::{Claim, Host};
use crate::vault::law::{Law, Word};
use crate::vault::mind::{DrawnInput, Mind};
use crate::vault::model::{Attempt, Model, WEEK};
use crate::vault::{Ask, STATE_PAGE, base};

/// Every how many runs sequences go through a whole database.
const WHOLE_IN: u32 = 32;
/// Sequences of one run through the pure functions.
const SEQUENCES: u64 = 32;
/// Every how many calls of some kind there is a flood of keys, which takes long.
const FLOOD_IN: u32 = 60;
/// Calls of a sequence at least, and at most.
const CALLS: std::ops::RangeInclusive<u32> = 5..=40;

pub(crate) fn run(seed: u64, tally: &Tally) -> Outcome {
    let mut rng = source(seed);
    if rng.random_ratio(1, WHOLE_IN) {
        return whole::run(&mut rng, tally);
    }
    let mut counts = Counts::default();
    for sequence in 0..SEQUENCES {
        let outcome = World::new(&mut rng).play(&mut counts);
        outcome.map_err(|problem| format!("sequence {sequence}: {problem}"))?;
    }
    tally.add("pure sequences", SEQUENCES);
    tally.add("permits", counts.permits);
    tally.add("refusals", counts.refusals);
    tally.add("forgeries refuted", counts.forgeries);
    tally.add("inputs turned away", counts.turned_away);
    tally.add("floods of keys", counts.floods);
    tally.add("vaults deleted", counts.deletions);
    Ok(())
}

#[derive(Default)]
struct Counts {
    permits: u64,
    refusals: u64,
    forgeries: u64,
    /// Inputs that are not what their bytes say.
    turned_away: u64,
    floods: u64,
    deletions: u64,
}

/// A vault three times: as a host has it, as a verifier does, and as it should be.
struct Vault {
    host: Host,
    verifier: Verifier,
    model: Model,
}

/// Some vaults, and all that was ever seen of them.
struct World<'r> {
    rng: &'r mut StdRng,
    now: u64,
    vaults: Vec<Vault>,
    mind: Mind,
    /// Commits that were taken, by anybody.
    commits: Vec<Vec<u8>>,
}

impl World<'_> {
    fn new(rng: &mut StdRng) -> World<'_> {
        let (mut vaults, mut commits) = (Vec::new(), Vec::new());
        for _ in 0..rng.random_range(1..4) {
            let law = Law::ALL[rng.random_range(0..Law::ALL.len())];
            let (host, verifier, genesis) = Host::new(law, rng.random(), START);
            let model = Model::new(law, START, host.head.hash);
            vaults.push(Vault { host, verifier, model });
            commits.push(genesis);
        }
        World { rng, now: START, vaults, mind: Mind::default(), commits }
    }

    fn play(&mut self, counts: &mut Counts) -> Outcome {
        // Most are short: most failures happen early.
        let calls = self.rng.random_range(CALLS).min(self.rng.random_range(CALLS));
        for call in 0..calls {
            self.now += [0, 0, 1, 400, 1000, 1000, 60_000][self.rng.random_range(0..7)];
            if self.rng.random_ratio(1, 100) {
                self.now += WEEK;
            }
            let index = self.rng.random_range(0..self.vaults.len());
            let done = match self.rng.random_range(0..12) {
                0 => self.show_again(index, counts),
                1 if self.rng.random_ratio(1, FLOOD_IN) => self.flood(index, counts),
                _ => self.ask(index, counts),
            };
            done.and_then(|()| self.vaults[index].compare())
                .map_err(|problem| format!("call {call}: {problem}"))?;
        }
        self.vaults.iter().try_for_each(Vault::compare)
    }

    /// Shows a verifier a commit that was taken already, there or elsewhere.
    fn show_again(&mut self, index: usize, counts: &mut Counts) -> Outcome {
        let bytes = &self.commits[self.rng.random_range(0..self.commits.len())];
        let vault = &self.vaults[index];
        counts.forgeries += 1;
        vault.refutes("a commit that was taken before", bytes)
    }

    /// Has more keys ask a host than it remembers, where the law lets everybody.
    fn flood(&mut self, index: usize, counts: &mut Counts) -> Outcome {
        let model = &self.vaults[index].model;
        if !matches!(model.law, Law::Open | Law::Known) || model.deleted {
            return Ok(());
        }
        counts.floods += 1;
        let lasts = [1000, WEEK][self.rng.random_range(0..2)];
        for _ in 0..NONCES_MAX / SIGNATURES_MAX + 1 {
            let vault = &self.vaults[index];
            let time = self.now.max(vault.model.time);
            let object = vault.host.head.id;
            let drawn = self.mind.crowd(self.rng, object, time, time + lasts);
            self.put(index, drawn, counts)?;
            self.now += self.rng.random_range(0..2);
        }
        Ok(())
    }

    /// Asks a host for something, and has its verifier follow.
    fn ask(&mut self, index: usize, counts: &mut Counts) -> Outcome {
        let vault = &self.vaults[index];
        let time = self.now.max(vault.model.time);
        let drawn = self.mind.draw(self.rng, &vault.model, vault.host.head.id, time);
        if vault.model.deleted {
            counts.forgeries += 1;
            return vault.refutes_more(&drawn.input);
        }
        self.put(index, drawn, counts)?;
        counts.deletions += u64::from(self.vaults[index].model.deleted);
        Ok(())
    }

    fn put(&mut self, index: usize, drawn: DrawnInput, counts: &mut Counts) -> Outcome {
        let vault = &mut self.vaults[index];
        let rng = &mut *self.rng;
        let DrawnInput { input, ask, signed } = drawn;
        let time = input.time;
        if !vault.takes(&input)? {
            counts.turned_away += 1;
            return Ok(());
        }
        let made = vault.model.said(rng, &ask, time.as_millis());
        let attempt = Attempt { ask: &ask, time: time.as_millis(), signed: signed.as_ref() };
        let claim = match &ask {
            ask if !ask.runs_code() => vault.host.written(&input.request),
            _ => made.as_ref().map(|made| Claim::of(made, &vault.host.image)),
        };
        let expected = vault.model.word(attempt, made.as_ref());
        let found = vault.host.decide(&input, claim.as_ref());
        let about = || format!("{:?}, {attempt:?} that leaves {made:?}", vault.model);
        equal("the word", &expected, &word(&found, &expected))
            .map_err(|problem| format!("{problem}: {}", about()))?;
        match (found, &made) {
            (Ok(admission), Some(made)) => {
                counts.permits += 1;
                let claim = claim.expect("what is admitted was made");
                if rng.random_bool(0.5) {
                    counts.forgeries += 1;
                    let draft = vault.host.draft(&input, &claim, &admission, true);
                    let (what, bytes) = forged::change(rng, &vault.host.before(), &draft.bytes);
                    vault
                        .refutes(what, &bytes)
                        .map_err(|problem| format!("{problem}: {}", about()))?;
                }
                let draft = vault.host.take(&input, &claim, &admission);
                let commit = must("decoding a commit", Commit::decode(&draft.bytes))?;
                must("verifying a commit", vault.verifier.commit(&commit))?;
                vault.model.take(attempt, made, draft.header.hash());
                self.commits.push(draft.bytes);
            }
            (Err(verdict), _) => {
                counts.refusals += 1;
                let fresh = signed.as_ref().is_none_or(|signed| vault.model.is_fresh(signed));
                // An open session cannot be opened again, nor one without a signer.
                let fresh = fresh && !matches!(ask, Ask::Open(..));
                let forged = match rng.random_bool(0.5) {
                    true => forged::admissions(rng, signed.as_ref(), &input),
                    false => Vec::new(),
                };
                for admission in forged {
                    counts.forgeries += 1;
                    let claim = claim.clone().unwrap_or_default();
                    let draft = vault.host.draft(&input, &claim, &admission, fresh);
                    vault
                        .refutes("a commit of what was refused", &draft.bytes)
                        .map_err(|problem| format!("{problem}: {}", about()))?;
                }
                if rng.random_bool(0.3) {
                    let refusal = vault.host.refuse(&input, verdict);
                    must("verifying a refusal", vault.verifier.refusal(&refusal))?;
                    let again = vault.verifier.clone().refusal(&refusal);
                    hold("a refusal stands on record once", again.is_err())?;
                    let reason = NATIVE[rng.random_range(0..NATIVE.len())];
                    vault.refutes_reason(reason, &input, &refusal)?;
                }
            }
            (Ok(_), None) => return Err("what was never made is admitted".to_string()),
        }
        Ok(())
    }
}

/// A decision in the words of the model.
fn word(found: &Result<Admission, Verdict>, expected: &Word) -> Word {
    // Rules that the model does not know are none of its words.
    let known = |rules: &[String]| {
        let words = match expected {
            Ok(rules) | Err((_, rules)) => rules.iter(),
        };
        let words: Vec<&'static str> = words.copied().collect();
        match words == *rules {
            true => words,
            false => vec!["other rules"],
        }
    };
    match found {
        Ok(admission) => Ok(known(&admission.rules)),
        Err(verdict) => Err((verdict.reason, known(&verdict.rules))),
    }
}

impl Vault {
    /// Returns whether a host may decide on an input: its bytes decode to the same input. Decides
    /// on the decoded bytes when they do not.
    fn takes(&self, input: &Input) -> Result<bool, String> {
        let decoded = Input::decode(&input.encode());
        let is_kept = decoded.as_ref() == Ok(input);
        let problem = input.validate().err().map(|error| error.to_string());
        equal("whether an input is what its bytes say", &is_kept, &problem.is_none())
            .map_err(|it| format!("{it}: {problem:?} of {input:?}"))?;
        if let Some(decoded) = decoded.as_ref().ok().filter(|_| !is_kept) {
            let word = |input: &Input| self.host.decide(input, None).err();
            equal("the word on what an input says", &word(decoded), &word(input))?;
        }
        Ok(is_kept)
    }

    /// Requires that a verifier rejects some bytes as the next commit.
    fn refutes(&self, what: &str, bytes: &[u8]) -> Outcome {
        let Ok(commit) = Commit::decode(bytes) else { return Ok(()) };
        let taken = self.verifier.clone().commit(&commit);
        hold(format_args!("{what} is refuted"), taken.is_err())
    }

    /// Requires that a refusal cannot be put on record for a false reason.
    fn refutes_reason(&self, reason: Reason, input: &Input, refusal: &Refusal) -> Outcome {
        if reason == refusal.verdict.reason {
            return Ok(());
        }
        let mut verdict = refusal.verdict.clone();
        verdict.reason = reason;
        let other = self.host.clone().refuse(input, verdict);
        let taken = self.verifier.clone().refusal(&other);
        hold(format_args!("a refusal for the reason {reason:?} is refuted"), taken.is_err())
    }

    /// Requires that nothing follows the deletion of a vault: no version, and no refusal.
    fn refutes_more(&self, input: &Input) -> Outcome {
        let mut undead = self.host.undead();
        let claim = undead.written(&input.request).unwrap_or_default();
        if let Ok(admission) = undead.decide(input, Some(&claim)) {
            let draft = undead.draft(input, &claim, &admission, true);
            self.refutes("a commit behind a deletion", &draft.bytes)?;
        }
        let refusal = undead.refuse(input, Verdict::native(Reason::Trap, "unreachable"));
        let taken = self.verifier.clone().refusal(&refusal);
        hold("a refusal behind a deletion is refuted", taken.is_err())
    }

    /// Requires that host and verifier have the model's vault.
    fn compare(&self) -> Outcome {
        let Vault { host, verifier, model } = self;
        equal("the head", &model.head, &host.head.hash)?;
        equal("the verified head", &model.head, &verifier.head().hash)?;
        let header = &host.head.header;
        let open = !host.head.ledger.sessions.is_empty();
        hold("no session outlasts a deletion", !(model.deleted && open))?;
        equal(
            "seq, time and wake",
            &(model.seq, model.time, model.wake),
            &(header.seq, header.time.as_millis(), header.wake.map(Time::as_millis)),
        )?;
        let parts = crate::vault::definition(model.law).parts();
        let verified = verifier.definition().policy.hash();
        equal("the policy verified with", &parts.policy, &verified)?;
        equal(
            "what it is made of",
            &(parts.code, parts.schema, parts.policy),
            &(header.code, header.schema, header.policy),
        )?;
        for image in [&host.image, verifier.image()] {
            equal("the memory's length", &base().bytes_count(), &image.bytes_count())?;
            hold("the first page is the base's", image.page(0) == base().page(0))?;
            let state = &image.page(STATE_PAGE)[..];
            hold("the state is the model's, and nothing else", state == model.state.page())?;
        }
        Ok(())
    }
}
