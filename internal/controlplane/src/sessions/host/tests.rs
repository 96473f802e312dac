use super::*;

#[test]
fn the_processors_share_is_between_two_samples() {
    let before = busy("cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1 2 3\n").unwrap();
    assert_eq!(before, Busy { busy: 200, all: 1_000 });
    let after = busy("cpu  150 0 100 740 110 0 0 0 50 0\n").unwrap();
    assert_eq!(share(before, after), 0.5);
    assert_eq!(share(after, before), 0.0, "a counter that goes back is no load");
    for text in ["", "cpu", "cpu  ", "cpu  1 2", "cpu0 1 2 3 4 5", "intr 5"] {
        assert_eq!(busy(text), None, "{text:?}");
    }
}

#[test]
fn the_memorys_share_is_what_is_not_available() {
    let text = "MemTotal:       1000 kB\nMemFree:         10 kB\nMemAvailable:    250 kB\n";
    assert_eq!(memory(text), Some((1_024_000, 0.75)));
    for text in [
        "",
        "MemTotal: x kB",
        "MemTotal: 5 kB",
        "MemTotal: 5 kB\nMemAvailable: 6 kB",
        "MemTotal: 0 kB\nMemAvailable: 0 kB",
    ] {
        assert_eq!(memory(text), None, "{text:?}");
    }
}

#[test]
fn this_machine_can_be_sampled_once_an_interval() {
    let (cpus, memory) = HostSampler::capacity();
    assert!(cpus >= 1_000_000_000 && memory > 0);
    let sampler = HostSampler::new(Duration::from_secs(3_600));
    assert_eq!((sampler.sample(), sampler.sample()), (None, None));
}

#[test]
fn one_slow_sync_is_told_once() {
    let meter = SyncMeter::default();
    let usage = |syncs| LogUsage { syncs, last_sync: Duration::from_millis(700), ..LogUsage::default() };
    let told = [5, 5, 6, 6].map(|syncs| meter.sample(&usage(syncs)).as_millis());
    assert_eq!(told, [700, 0, 700, 0]);
}
