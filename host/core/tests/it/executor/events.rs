//! The event bus: nobody waits for a slow subscriber.

use reductor_core::{Event, EventBus, ExecutorStoppedEvent, Received, Subscription, Timestamp};

use super::host::within;

fn publish(bus: &EventBus, ms: i64) {
    bus.publish(Event::ExecutorStopped(ExecutorStoppedEvent { stopped_at: Timestamp { ms }, graceful: true }));
}

/// The moment of the next event, or how many were missed.
fn next(subscription: &mut Subscription) -> Result<i64, u64> {
    match within(subscription.recv()).expect("the bus is there") {
        Received::Missed(count) => Err(count),
        Received::Event(event) => match &*event {
            Event::ExecutorStopped(event) => Ok(event.stopped_at.ms),
            other => panic!("{other:?}"),
        },
    }
}

#[test]
fn a_slow_subscriber_is_told_how_much_it_missed_and_goes_on() {
    let bus = EventBus::new(4);
    let (mut slow, mut quick) = (bus.subscribe(), bus.subscribe());
    for ms in 0..6 {
        publish(&bus, ms);
        assert_eq!(next(&mut quick), Ok(ms));
    }
    assert_eq!(next(&mut slow), Err(2));
    assert_eq!((2..6).map(|_| next(&mut slow)).collect::<Result<Vec<_>, _>>(), Ok(vec![2, 3, 4, 5]));
    assert!(slow.try_recv().is_none());
}

#[test]
fn a_subscriber_hears_nothing_from_before_and_the_end_when_the_bus_goes() {
    let bus = EventBus::new(4);
    publish(&bus, 0);
    let mut subscription = bus.subscribe();
    publish(&bus, 1);
    drop(bus);
    assert_eq!(next(&mut subscription), Ok(1));
    assert!(within(subscription.recv()).is_none());
}

#[test]
fn waiting_without_a_runtime_is_the_same() {
    let bus = EventBus::new(2);
    let (mut subscription, mut impatient) = (bus.subscribe(), bus.subscribe());
    for ms in 0..3 {
        publish(&bus, ms);
    }
    drop(bus);
    assert!(matches!(impatient.try_recv(), Some(Received::Missed(1))));
    assert!(matches!(subscription.recv_blocking(), Some(Received::Missed(1))));
    assert!(matches!(subscription.recv_blocking(), Some(Received::Event(_))));
    assert!(matches!(subscription.try_recv(), Some(Received::Event(_))));
    assert!(subscription.recv_blocking().is_none());
}
