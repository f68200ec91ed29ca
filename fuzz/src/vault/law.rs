//! The laws of vaults: each as a policy, and as a few lines that decide the same.
//!
//! They know nothing of signatures, nonces or due wakes: only the facts that a policy sees.

use std::sync::OnceLock;

use object::credential::{SessionKey, SigningKey};
use object::refusal::Reason;

use super::{Ask, State};

/// The most that a policy can count to.
const LONG_MAX: u64 = i64::MAX as u64;

/// The keys: the first three are known to the policies, the others strangers.
pub(crate) fn keys() -> &'static [SigningKey] {
    static KEYS: OnceLock<Vec<SigningKey>> = OnceLock::new();
    KEYS.get_or_init(|| (1..6).map(|secret| SigningKey::from_secret(&[secret; 32])).collect())
}

/// The public half of one of them.
pub(crate) fn public(index: usize) -> [u8; 32] {
    keys()[index].public().0
}

/// The secrets of sessions; the last one is never opened.
pub(crate) fn sessions() -> &'static [SessionKey] {
    static SESSIONS: OnceLock<Vec<SessionKey>> = OnceLock::new();
    let made = || (1..5).map(|secret| SessionKey::from_secret(&[secret; 32])).collect();
    SESSIONS.get_or_init(made)
}

/// A law that says what may be done to a vault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Law {
    /// Everything, by everybody; but no session.
    Open,
    /// Permits everything to any signer, or opener of a session.
    Known,
    /// Everything, by the first key when it is the lowest that signed; and the own cycle.
    Owner,
    /// Everything, by two of the first three keys; sessions are opened in vain.
    Quorum,
    /// Permits steps that leave the count and the existing entries alone.
    Append,
    /// Permits steps that come a second after the last, stamped, and count up by at most a hundred.
    Rate,
    /// Permits steps that count up, by at most ten; writes only by the second key.
    Rising,
    /// Everything, by everybody, but another law only by two of the first three keys.
    Charter,
    /// Permits everything to any signer, or opener of a session, but another law only to the first
    /// key, when it is the lowest that signed, while the vault is open.
    Handed,
    /// Permits the requests of objects under the same law.
    Kin,
}

/// The question to a law.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case<'a> {
    pub(crate) ask: &'a Ask,
    /// The keys that signed, or that opened the session, ascending.
    pub(crate) keys: &'a [[u8; 32]],
    pub(crate) in_session: bool,
    pub(crate) time: u64,
    pub(crate) before: &'a State,
    pub(crate) after: &'a State,
    pub(crate) wake: Option<u64>,
}

/// The rules that permit; or why not, and the rules that say so.
pub(crate) type Word = Result<Vec<&'static str>, (Reason, Vec<&'static str>)>;

impl Law {
    pub(crate) const ALL: [Law; 10] = [
        Law::Open,
        Law::Known,
        Law::Owner,
        Law::Quorum,
        Law::Append,
        Law::Rate,
        Law::Rising,
        Law::Charter,
        Law::Handed,
        Law::Kin,
    ];

    /// Returns whether another law may follow.
    pub(crate) fn is_amendable(self) -> bool {
        matches!(self, Law::Charter | Law::Handed)
    }

    /// The law as a policy.
    pub(crate) fn cedar(self) -> String {
        let key = |index| object::credential::PublicKey(public(index)).to_string();
        let (a, b, c) = (key(0), key(1), key(2));
        let signed = |one: &str, other: &str| {
            format!(
                "(context.signers.contains(\"{one}\") && context.signers.contains(\"{other}\"))"
            )
        };
        let law = match self {
            Law::Open => r#"@id("anyone") permit(principal, action, resource);"#.to_string(),
            Law::Known => r#"@id("known") permit(principal is Key, action, resource);"#.to_string(),
            Law::Owner => format!(
                r#"@id("owner") permit(principal == Key::"{a}", action, resource);
                @id("itself") permit(principal is Object, action == Action::"advance", resource)
                when {{ principal == resource }};"#
            ),
            Law::Quorum => format!(
                r#"@id("quorum") permit(principal, action, resource)
                when {{ {} || {} || {} }};
                @id("attended") forbid(principal, action, resource)
                when {{ context.credential == "session" }};"#,
                signed(&a, &b),
                signed(&a, &c),
                signed(&b, &c)
            ),
            Law::Append => APPEND.to_string(),
            Law::Rate => RATE.to_string(),
            Law::Rising => format!(
                r#"{RISING}
                @id("closed") forbid(principal, action == Action::"write", resource)
                unless {{ context.signers.contains("{b}") }};"#
            ),
            Law::Charter => format!(
                r#"@id("anyone") permit(principal, action, resource);
                @id("charter") permit(principal, action == Action::"amend", resource)
                when {{ {} || {} || {} }};"#,
                signed(&a, &b),
                signed(&a, &c),
                signed(&b, &c)
            ),
            Law::Handed => format!(
                r#"@id("known") permit(principal is Key, action, resource);
                @id("handed") permit(principal == Key::"{a}", action == Action::"amend", resource);
                @id("shut") forbid(principal, action == Action::"amend", resource)
                unless {{ context.before.open }};"#
            ),
            Law::Kin => KIN.to_string(),
        };
        match self {
            Law::Open => law,
            _ => law + OPENS,
        }
    }

    /// Returns whether the law's text has a key in it.
    pub(crate) fn names(self, key: &[u8; 32]) -> bool {
        (0..3).any(|index| {
            let (own, digits) = (public(index), keys()[index].public().to_string());
            own == *key && self.cedar().contains(&digits)
        })
    }

    /// The law's word on a case.
    pub(crate) fn word(self, case: Case<'_>) -> Word {
        let Case { ask, keys, in_session, time, before, after, wake } = case;
        let signed = |index| keys.contains(&public(index));
        let permit = |rule, permits: bool| match permits {
            true => Ok(vec![rule]),
            false => Err((Reason::NotPermitted, vec![])),
        };
        let opens = matches!(ask, Ask::Open(..));
        // A rule that does not name it permits no session.
        let permit = |rule, permits| match opens {
            true => permit("opens", self != Law::Open),
            false => permit(rule, permits),
        };
        if let Ask::Amend(_) = ask {
            return self.word_on_another(case);
        }
        if let Ask::Delete = ask {
            return self.word_on_the_end(case);
        }
        match self {
            Law::Open | Law::Charter => permit("anyone", true),
            Law::Known | Law::Handed => permit("known", !keys.is_empty()),
            Law::Owner if *ask == Ask::Cycle => permit("itself", true),
            Law::Owner => permit("owner", keys.first() == Some(&public(0))),
            Law::Quorum => {
                forbid(&[("attended", in_session)])?;
                permit("quorum", (0..3).filter(|&key| signed(key)).count() >= 2)
            }
            Law::Kin => permit("kin", matches!(ask, Ask::Hear(Law::Kin, _))),
            Law::Append => {
                readable(&[before.count, after.count])?;
                let lost = |before: Option<u32>, after| before.is_some() && before != after;
                let lost = lost(before.first, after.first) || lost(before.second, after.second);
                forbid(&[("kept", lost), ("sealed", before.count != after.count)])?;
                permit("anyone", true)
            }
            Law::Rate => {
                // The rule that permits everything reads nothing for sessions.
                if !opens {
                    readable(&[before.stamp, after.stamp, before.count, after.count])?;
                }
                readable(&[wake.unwrap_or(0)])?;
                forbid(&[("far", wake.is_some_and(|wake| wake > time + 100_000))])?;
                let steady = time >= before.stamp.saturating_add(1000) && after.stamp == time;
                permit("steady", steady && after.count <= before.count.saturating_add(100))
            }
            Law::Rising => {
                readable(&[before.count, after.count])?;
                let more = match *ask {
                    Ask::Add(more) | Ask::Hear(_, more) => more,
                    _ => 0,
                };
                readable(&[more])?;
                let jumps = after.count.saturating_sub(before.count) > 10;
                let closed = ask.is_write() && !signed(1);
                forbid(&[("big", more > 10), ("closed", closed), ("jump", jumps)])?;
                permit("rising", after.count > before.count)
            }
        }
    }

    /// The law's word on another in its place: what permits everything does not permit that.
    fn word_on_another(self, case: Case<'_>) -> Word {
        let Case { keys, time, before, wake, .. } = case;
        let signed = |index| keys.contains(&public(index));
        match self {
            Law::Charter if (0..3).filter(|&key| signed(key)).count() >= 2 => Ok(vec!["charter"]),
            Law::Handed => {
                forbid(&[("shut", !before.open)])?;
                match keys.first() == Some(&public(0)) {
                    true => Ok(vec!["handed"]),
                    false => Err((Reason::NotPermitted, vec![])),
                }
            }
            Law::Append | Law::Rising => {
                readable(&[before.count])?;
                Err((Reason::NotPermitted, vec![]))
            }
            Law::Rate => {
                readable(&[wake.unwrap_or(0)])?;
                forbid(&[("far", wake.is_some_and(|wake| wake > time + 100_000))])?;
                Err((Reason::NotPermitted, vec![]))
            }
            _ => Err((Reason::NotPermitted, vec![])),
        }
    }
}

impl Law {
    /// The law's word on the deletion of the vault, which leaves the state as it is.
    fn word_on_the_end(self, Case { keys, before, .. }: Case<'_>) -> Word {
        match self {
            // It has no such action.
            Law::Open => return Err((Reason::NotPermitted, vec![])),
            Law::Append | Law::Rising => readable(&[before.count])?,
            _ => {}
        }
        match !keys.is_empty() && before.open {
            true => Ok(vec!["ends"]),
            false => Err((Reason::NotPermitted, vec![])),
        }
    }
}

/// Requires that a policy can read these numbers.
fn readable(numbers: &[u64]) -> Result<(), (Reason, Vec<&'static str>)> {
    match numbers.iter().all(|&number| number <= LONG_MAX) {
        true => Ok(()),
        false => Err((Reason::Evaluation, vec![])),
    }
}

/// Requires that none of the rules, in the order of their ids, forbids.
fn forbid(rules: &[(&'static str, bool)]) -> Result<(), (Reason, Vec<&'static str>)> {
    let broken: Vec<_> = rules.iter().filter(|rule| rule.1).map(|rule| rule.0).collect();
    if broken.is_empty() { Ok(()) } else { Err((Reason::Forbidden, broken)) }
}

const OPENS: &str = r#"
@id("opens") permit(principal is Key, action == Action::"open_session", resource);
@id("ends") permit(principal is Key, action == Action::"delete", resource)
when { context.before.open };"#;

const KIN: &str = r#"
@id("kin") permit(principal is Object, action, resource)
when {
    principal != resource
    && context.sender has policy
    && context.sender.policy == context.policy
};"#;

const APPEND: &str = r#"
@id("anyone") permit(principal, action, resource);
@id("kept") forbid(principal, action, resource)
when {
    (context.before has first
        && !(context.after has first && context.after.first == context.before.first))
    || (context.before has second
        && !(context.after has second && context.after.second == context.before.second))
};
@id("sealed") forbid(principal, action, resource)
unless { context.after.count == context.before.count };"#;

const RATE: &str = r#"
@id("steady") permit(principal, action, resource)
when {
    context.time >= context.before.stamp + 1000
    && context.after.stamp == context.time
    && context.after.count <= context.before.count + 100
};
@id("far") forbid(principal, action, resource)
when { context.effects has wake && context.effects.wake > context.time + 100000 };"#;

const RISING: &str = r#"
@id("rising") permit(principal, action, resource)
when { context.after.count > context.before.count };
@id("jump") forbid(principal, action, resource)
when { context.after.count - context.before.count > 10 };
@id("big") forbid(principal, action == Action::"add", resource)
when { context.input.more > 10 };"#;
