//! The ring: an event that is read is whole and one that was written, numbers never go back, and who loses the race for
//! a place says so.

use super::{Model, NOW, policy, table};
use crate::sync::modelled::{process, run};
use crate::table::{Event, EventKind, Selector, Table};
use std::sync::Arc;

pub(super) const MODELS: &[Model] = &[
    Model { name: "events: an event is written over and read", run: write_and_read, deaths: 0, preemptions: 3 },
    Model { name: "events: two writers for one place", run: two_writers, deaths: 0, preemptions: 3 },
    Model { name: "events: a writer dies, another goes on", run: a_writer_dies, deaths: 14, preemptions: 1 },
];

fn ring(events: u32) -> Arc<Table> {
    table(&policy(Selector::RoundRobin, 3), (1, 1, events)).0
}

/// An event whose parts all tell its writer.
fn emit(table: &Table, by: u32) {
    table.emit(EventKind::WorkerReclaimed { lane: by, taken: u64::from(by) * 11 }, NOW + u64::from(by));
}

fn assert_whole(event: &Event) {
    assert_eq!((event.kind.number(), event.time_ns), (7, NOW + u64::from(event.worker)), "torn: {event:?}");
    assert_eq!(event.value, u64::from(event.worker) * 11, "torn: {event:?}");
}

fn write_and_read(_: Option<u32>) {
    let table = ring(1);
    emit(&table, 9);
    run(1..=2);
    let (a, b) = (table.clone(), table.clone());
    let writer = process(1, None, move || emit(&a, 1));
    let reader = process(2, None, move || {
        if let Some(event) = b.event_after(0) {
            assert_whole(&event);
            let written = match event.number {
                1 => 9,
                _ => 1,
            };
            assert_eq!(event.worker, written, "event {}", event.number);
            assert!(b.event_after(event.number).is_none_or(|later| later.number > event.number));
        }
    });
    assert!(writer.join().unwrap() && reader.join().unwrap());
    assert_eq!(table.event_after(0).map(|e| (e.number, e.worker)), Some((2, 1)), "the newest event is there");
}

fn two_writers(_: Option<u32>) {
    let table = ring(1);
    run(1..=2);
    let writers = [1, 2].map(|n| {
        let table = table.clone();
        process(n, None, move || emit(&table, n))
    });
    writers.into_iter().for_each(|p| assert!(p.join().unwrap()));
    let newest = table.event_after(0);
    newest.iter().for_each(assert_whole);
    assert!(newest.is_some() || table.events_lost() > 0, "an event went without a trace");
}

fn a_writer_dies(death: Option<u32>) {
    let table = ring(1);
    run(1..=2);
    let (a, b) = (table.clone(), table.clone());
    let first = process(1, death, move || emit(&a, 1));
    let second = process(2, None, move || emit(&b, 2));
    first.join().unwrap();
    assert!(second.join().unwrap());
    table.event_after(0).iter().for_each(assert_whole);
    // Whatever the dead left, the ring goes on.
    emit(&table, 4);
    assert_eq!(table.event_after(0).map(|e| e.worker), Some(4));
}
