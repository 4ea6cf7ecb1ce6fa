//! Can the models fail? At every place of the shipped code that they meet, what the code relies on is taken away, one
//! thing at a time: half of an ordering, a fence, the unity of a CAS or an addition, a second look at a word.
//!
//! A fault that no model finds is not proof that the line is not needed: the checksum of an event stands behind its
//! fences, a mistake may need more steps than a model makes, and some orderings hand on what no model reads. Those that
//! must be found are named in `MUST`, by file and by what stands on the line.

use super::MODELS;
use crate::sync::modelled::{Fault, Loss};
use std::collections::BTreeMap;

/// Schedules to find a fault in, for each model and death.
const SCHEDULES: usize = 2000;

/// File, a part of the line, what is taken from it.
const MUST: &[(&str, &str, Loss)] = &[
    ("failover/budget.rs", "word.fetch_update", Loss::Unity),
    ("health/floor.rs", "word.compare_exchange(held, mine", Loss::Acquire),
    ("health/floor.rs", "word.compare_exchange(held, mine", Loss::Unity),
    ("health/floor.rs", "fence(Ordering::SeqCst)", Loss::Fence),
    ("health/floor.rs", "self.word.load(Ordering::Acquire) != self.mine", Loss::Recheck),
    ("health/mod.rs", "word.compare_exchange(old.bits(), new.bits()", Loss::Unity),
    ("health/mod.rs", "word.compare_exchange(state.bits(), next.bits()", Loss::Unity),
    ("health/mod.rs", "word.compare_exchange(state.bits(), next,", Loss::Unity),
    ("health/mod.rs", "word.compare_exchange(last, now.max(1)", Loss::Unity),
    ("request/plain.rs", "compiler_fence(Ordering::SeqCst)", Loss::Fence),
    ("table/lane.rs", "fence(Ordering::SeqCst)", Loss::Fence),
    ("table/membership.rs", "len.store(name.len()", Loss::Release),
    ("table/membership.rs", "word::NAME_LEN)?.load(Ordering::Acquire)", Loss::Acquire),
    ("table/peer.rs", "fence(Ordering::Acquire)", Loss::Fence),
    ("table/snapshot.rs", "word::SNAPSHOT)?.load(Ordering::Acquire)", Loss::Acquire),
    ("selector/mod.rs", "aggregate.fetch_update", Loss::Unity),
    ("table/lane.rs", "compare_exchange(0, identity.bits()", Loss::Unity),
    ("table/lane.rs", "lease.compare_exchange(holder, mine", Loss::Unity),
    ("table/events.rs", "stamp.compare_exchange(seen, claim", Loss::Acquire),
    ("table/events.rs", "stamp.compare_exchange(seen, claim", Loss::Unity),
    ("table/events.rs", "stamp.compare_exchange(claim, claim + 1", Loss::Release),
];

fn line((file, line, _): (&str, u32, u32)) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().nth(line as usize - 1).unwrap_or("").trim().to_string()
}

/// Prints every fault and how it was found; `TIDEGATE_FAULTS=all` plants all of them, else those that must be found.
#[test]
fn planted_faults_are_found() {
    let all = std::env::var("TIDEGATE_FAULTS").is_ok_and(|v| v == "all");
    let only = std::env::var("LOOM_ONLY").unwrap_or_default();
    let must = |fault: &Fault| {
        let text = line(fault.place);
        MUST.iter()
            .position(|&(file, part, loss)| fault.place.0.ends_with(file) && text.contains(part) && fault.loss == loss)
    };
    // By fault: the models that met it, and the one that found it.
    let mut found: BTreeMap<Fault, Option<String>> = BTreeMap::new();
    for model in MODELS.iter().copied().flatten().filter(|m| m.name.contains(&only)) {
        let one = Fault { place: ("", 0, 0), loss: Loss::Fence };
        for fault in model.explore(Some((one, 50))).losses {
            if !all && must(&fault).is_none() || found.get(&fault).is_some_and(Option::is_some) {
                continue;
            }
            let wrong = model.explore(Some((fault, SCHEDULES))).wrong;
            found.insert(fault, wrong.map(|text| format!("{}: {}", model.name, text.lines().next().unwrap_or(""))));
        }
    }
    for (fault, by) in &found {
        let (file, number, _) = fault.place;
        let by = by.as_deref().unwrap_or("NOT FOUND");
        println!("{file}:{number} without {:?}: {}\n    {by}", fault.loss, line(fault.place));
    }
    println!("{} faults planted, {} found", found.len(), found.values().flatten().count());
    if only.is_empty() {
        for (i, (file, part, loss)) in MUST.iter().enumerate() {
            let hit = found.iter().any(|(fault, by)| must(fault) == Some(i) && by.is_some());
            assert!(hit, "no model finds {file} without {loss:?} at: {part}");
        }
    }
}
