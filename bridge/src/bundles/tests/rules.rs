//! The rules one by one.

use super::*;

#[test]
fn layers_come_into_force_together_and_stay_so_over_a_restart() {
    let mut rig = Rig::new();
    rig.offer(&regional(1, 0));
    assert!(rig.keeper.activate(false).is_none(), "without the federation there is nothing");
    assert!(rig.bring(&federal(3, 0)));
    assert_eq!((rig.revision("federation"), rig.revision("region/eu")), (Some(3), Some(1)));
    assert_eq!(rig.alarms(), []);
    let digest = rig.keeper.in_force.as_ref().map(|in_force| in_force.digest);
    rig.keeper.finish_recovery();
    rig.keeper = keeper(&rig.directory);
    let first = rig.keeper.take_first().expect("what was in force is so at once");
    assert_eq!(Some(Digest(first.mark.digest)), digest);
    assert_eq!(first.mark.federation_revision, 3);
}

#[test]
fn an_older_bundle_is_refused_and_the_error_says_what_to_do() {
    let mut rig = Rig::new();
    assert!(rig.bring(&federal(3, 0)));
    let Offered::Older(what) = rig.offer(&federal(2, 0)) else { panic!("it was taken") };
    assert!(what.contains("revision 3 in force") && what.contains("under a new revision"), "{what}");
    rig.restart();
    assert!(!rig.bring(&federal(2, 0)), "also after a restart");
    assert_eq!(rig.revision("federation"), Some(3));
    // The old content under a new number is the way back.
    assert!(rig.bring(&federal(4, 0)));
}

#[test]
fn a_second_bundle_of_one_number_is_an_alarm_until_the_next_comes_into_force() {
    let mut rig = Rig::new();
    assert!(rig.bring(&federal(3, 0)));
    assert!(matches!(rig.peer_offers(&federal(3, 1)), Offered::Contradicts(_)));
    assert!(rig.has_alarm(AlarmKind::Equivocation, "federation", "find out who signed them"));
    assert_eq!(rig.keeper.offers()[0].digest, digest(&federal(3, 0)), "the first is what is passed on");
    assert!(rig.bring(&federal(4, 0)));
    assert_eq!(rig.alarms(), []);
}

#[test]
fn a_broken_bundle_of_one_layer_keeps_back_nothing_of_another() {
    let mut rig = Rig::new();
    assert!(rig.bring(&federal(1, 0)));
    rig.offer(&sign("region/eu", 7, None, &[("eu.yaml", &policy_text("region/eu", "eu", BROKEN))], EU));
    rig.offer(&federal(2, 0));
    assert!(rig.keeper.activate(false).is_some());
    assert_eq!((rig.revision("federation"), rig.revision("region/eu")), (Some(2), None));
    assert!(rig.has_alarm(AlarmKind::Refused, "region/eu", "did you mean `deny`?"));
    assert!(rig.keeper.activate(false).is_none(), "what was refused is not proved again for nothing");
    assert!(rig.bring(&regional(8, 0)));
    assert_eq!(rig.alarms(), []);
}

#[test]
fn what_cannot_be_recorded_does_not_come_into_force() {
    let mut rig = Rig::new();
    assert!(rig.bring(&federal(1, 0)));
    let record = rig.directory.path().join("data/bundles/revisions");
    fs::remove_file(&record).expect("removed");
    // No file can be put where a directory with something in it is.
    fs::create_dir_all(record.join("in the way")).expect("made");
    assert!(!rig.bring(&federal(2, 0)));
    assert_eq!(rig.revision("federation"), Some(1));
    assert!(rig.has_alarm(AlarmKind::Disk, "record", "cannot be recorded"));
    fs::remove_dir_all(&record).expect("removed");
    assert!(rig.keeper.activate(false).is_some(), "it is tried again");
    assert_eq!((rig.revision("federation"), rig.alarms()), (Some(2), Vec::new()));
}

#[test]
fn what_neighbours_show_is_the_floor_of_a_bridge_that_lost_its_disk() {
    let mut rig = Rig::new();
    assert!(rig.bring(&federal(5, 0)));
    rig.lose_disk();
    assert!(rig.keeper.is_recovering() && rig.keeper.take_first().is_none());
    // A signed bundle that cannot come into force is proof enough that 6 was there.
    let document = federation_text(EU, "");
    let broken = policy_text("federation", "base", BROKEN);
    let six = sign("federation", 6, None, &[("federation.yaml", &document), ("base.yaml", &broken)], ROOT);
    assert_eq!(rig.peer_offers(&six), Offered::Taken);
    let Offered::Older(what) = rig.offer(&federal(5, 0)) else { panic!("it was taken") };
    assert!(what.contains("was shown before"), "{what}");
    assert!(rig.keeper.activate(true).is_none());
    rig.restart();
    assert!(matches!(rig.offer(&federal(5, 0)), Offered::Older(_)), "the floor is on the disk");
    assert!(rig.bring(&federal(7, 0)));
}

#[test]
fn a_bridge_without_a_record_begins_with_every_layer_or_not_at_all() {
    let mut rig = Rig::new();
    assert!(rig.bring(&federal(1, 0)) && rig.bring(&regional(5, 0)));
    rig.lose_disk();
    // Its neighbours judge by region 5; what they hold to pass on is 6, which does not compile.
    let six = sign("region/eu", 6, None, &[("eu.yaml", &policy_text("region/eu", "eu", BROKEN))], EU);
    assert_eq!(rig.peer_offers(&federal(1, 0)), Offered::Taken);
    assert_eq!(rig.peer_offers(&six), Offered::Taken);
    assert!(rig.keeper.activate(true).is_none(), "without the region more would pass than before");
    assert!(rig.has_alarm(AlarmKind::Refused, "region/eu", "did you mean `deny`?"));
    assert!(rig.bring(&regional(7, 0)));
    assert_eq!((rig.revision("region/eu"), rig.alarms()), (Some(7), Vec::new()));
}

#[test]
fn a_damaged_record_is_a_lost_disk_and_a_damaged_bundle_is_taken_again() {
    let mut rig = Rig::new();
    assert!(rig.bring(&federal(5, 0)));
    rig.keeper.finish_recovery();
    let shelf = rig.directory.path().join("data/bundles");
    let archive = shelf.join(format!("{}.bundle", digest(&federal(5, 0))));
    fs::write(&archive, b"rot").expect("written");
    rig.keeper = keeper(&rig.directory);
    assert!(!rig.keeper.is_recovering() && rig.keeper.take_first().is_none());
    assert_eq!(rig.keeper.offers(), [], "a neighbour is asked for it");
    assert!(!rig.bring(&federal(4, 0)), "the record still knows");
    assert_eq!(rig.peer_offers(&federal(5, 0)), Offered::Taken);
    assert!(rig.keeper.activate(false).is_some());
    fs::write(shelf.join("revisions"), b"rot").expect("written");
    rig.restart();
    assert!(rig.keeper.is_recovering());
}

#[test]
fn bundles_of_other_layers_are_held_and_passed_on_and_judge_nothing() {
    let mut rig = Rig::new();
    assert!(rig.bring(&federal(1, 0)));
    let us = sign("region/us", 4, None, &[("us.yaml", &policy_text("region/us", "us", DENY))], 3);
    assert_eq!(rig.peer_offers(&us), Offered::Taken);
    assert!(rig.keeper.activate(false).is_none());
    assert_eq!(rig.keeper.offers().len(), 2);
    rig.restart();
    assert_eq!(rig.keeper.offers().len(), 2);
    let nobody = sign("zone/a", 4, None, &[("a.yaml", &policy_text("zone/a", "a", DENY))], STRANGER);
    assert!(matches!(rig.peer_offers(&nobody), Offered::Unknown(_)), "whose key may still come");
    let forged = sign("region/us", 5, None, &[("us.yaml", &policy_text("region/us", "us", DENY))], STRANGER);
    assert!(matches!(rig.peer_offers(&forged), Offered::Wrong(_)));
    assert!(rig.has_alarm(AlarmKind::Unsigned, "bridge b-1", "none of its keys"));
    rig.keeper.forget_peer("b-1");
    assert_eq!(rig.alarms(), []);
}

#[test]
fn another_bundle_than_the_one_that_was_offered_is_not_taken() {
    let mut rig = Rig::new();
    let offered = rig.keeper.offer(&federal(1, 0), Source::Peer("b-1", &named(&federal(2, 0))));
    assert!(matches!(offered, Offered::Wrong(_)), "{offered:?}");
}

/// Else a neighbour could have what is held pulled and looked at for ever, as something newer.
#[test]
fn a_bundle_that_is_offered_as_newer_or_for_another_layer_is_the_neighbours_fault() {
    let mut rig = Rig::new();
    assert!(rig.bring(&federal(1, 0)));
    let held = federal(1, 0);
    let region = "region/eu".parse().expect("a layer");
    for lie in [Offer { revision: 9, ..named(&held) }, Offer { layer: region, ..named(&held) }] {
        let offered = rig.keeper.offer(&held, Source::Peer("b-1", &lie));
        assert!(matches!(offered, Offered::Wrong(_)), "{lie:?}: {offered:?}");
        assert!(rig.has_alarm(AlarmKind::Unsigned, "bridge b-1", "another bundle"), "{:?}", rig.alarms());
    }
    assert_eq!(rig.peer_offers(&held), Offered::Known);
}

#[test]
fn a_new_key_takes_over_and_what_the_old_one_signed_stays_in_force() {
    let mut rig = Rig::new();
    assert!(rig.bring(&federal(1, 0)) && rig.bring(&regional(1, 0)));
    assert!(rig.bring(&federal_with(2, 0, 5, "")));
    assert_eq!(rig.revision("region/eu"), Some(1), "without it the region would be less protected");
    assert!(matches!(rig.offer(&regional(2, 0)), Offered::Wrong(_)));
    let policy = policy_text("region/eu", "eu", DENY);
    let renewed = sign("region/eu", 2, None, &[("eu.yaml", &policy)], 5);
    rig.restart();
    assert_eq!(rig.revision("region/eu"), Some(1), "the record vouches for it");
    assert!(rig.bring(&renewed));
}

#[test]
fn another_topology_waits_for_a_restart() {
    let mut rig = Rig::new();
    assert!(rig.bring(&federal(1, 0)));
    let larger = federation_text(EU, "").replace("zones: {a:", "zones: {c: {region: eu}, a:");
    let policy = policy_text("federation", "base", PERMIT);
    let next = sign("federation", 2, None, &[("federation.yaml", &larger), ("base.yaml", &policy)], ROOT);
    assert!(!rig.bring(&next));
    assert!(rig.has_alarm(AlarmKind::Restart, "federation", "restart the bridge"));
    rig.keeper.finish_recovery();
    rig.restart();
    assert_eq!((rig.revision("federation"), rig.alarms()), (Some(2), Vec::new()));
    assert_eq!(rig.keeper.federation().zones().count(), 3);
}

#[test]
fn a_document_that_does_not_list_this_bridge_is_refused() {
    let mut rig = Rig::new();
    assert!(rig.bring(&federal(1, 0)));
    let other = federation_text(EU, "").replace("{id: a-1, zone: a}", "{id: a-1, zone: b}");
    let policy = policy_text("federation", "base", PERMIT);
    let next = sign("federation", 2, None, &[("federation.yaml", &other), ("base.yaml", &policy)], ROOT);
    assert!(!rig.bring(&next));
    assert!(rig.has_alarm(AlarmKind::Refused, "federation", "no bridge `a-1` in zone `a`"));
}

#[test]
fn plain_directories_are_for_layers_that_nobody_signs() {
    let mut rig = Rig::new();
    let plain = rig.directory.path().join("plain/a.yaml");
    fs::write(&plain, policy_text("zone/a", "own", DENY)).expect("written");
    assert!(rig.bring(&federal(1, 0)));
    for layer in ["region/eu", "federation"] {
        fs::write(&plain, policy_text(layer, "own", DENY)).expect("written");
        assert!(rig.keeper.activate(true).is_none(), "{layer}");
        assert!(rig.has_alarm(AlarmKind::Refused, "policies", "take it out of `directories`"), "{layer}");
    }
    fs::remove_file(&plain).expect("removed");
    assert!(rig.keeper.activate(true).is_some());
    assert_eq!(rig.alarms(), []);
}

#[test]
fn a_bundle_that_would_refuse_itself_is_refused() {
    let mut rig = Rig::new();
    assert!(rig.bring(&federal(1, 0)));
    assert!(!rig.bring(&federal_with(2, 0, EU, "  minRevision: 3\n")));
    assert!(rig.has_alarm(AlarmKind::Refused, "federation", "one release after"));
    rig.offer(&federal_with(3, 0, EU, "  minRevision: 3\n"));
    assert_eq!(rig.keeper.activate(false).map(|generation| generation.min_revision), Some(3));
}

#[test]
fn past_its_end_a_bundle_stays_in_force_and_an_alarm_says_so() {
    let mut rig = Rig::new();
    let document = federation_text(EU, "");
    let policy = policy_text("federation", "base", PERMIT);
    let files = [("federation.yaml", document.as_str()), ("base.yaml", policy.as_str())];
    assert!(rig.bring(&sign("federation", 1, Some(1_767_225_601), &files, ROOT)));
    assert!(rig.has_alarm(AlarmKind::Expired, "federation", "stays in force"));
    rig.restart();
    assert!(rig.has_alarm(AlarmKind::Expired, "federation", "stays in force"));
    assert!(rig.bring(&sign("federation", 2, Some(253_402_300_799), &files, ROOT)));
    assert_eq!(rig.alarms(), []);
}

#[test]
fn of_each_layer_the_newest_signed_file_counts_and_an_older_one_that_comes_later_is_an_alarm() {
    let mut rig = Rig::new();
    let file = |rig: &Rig, name: &str| rig.directory.path().join("drop").join(name);
    let write = |rig: &Rig, name: &str, bytes: &[u8]| fs::write(file(rig, name), bytes).expect("written");
    let document = federation_text(EU, "");
    write(&rig, "1.bundle", &federal(1, 0));
    write(&rig, "2.bundle", &federal(2, 0));
    write(&rig, "9.bundle", &sign("federation", 9, None, &[("federation.yaml", &document)], STRANGER));
    write(&rig, "eu.bundle", &regional(1, 0));
    write(&rig, "notes.txt", b"nothing");
    rig.keeper.scan();
    assert!(rig.keeper.activate(false).is_some());
    assert_eq!((rig.revision("federation"), rig.revision("region/eu")), (Some(2), Some(1)));
    assert!(rig.has_alarm(AlarmKind::Unsigned, "9.bundle", "none of its keys"));
    fs::remove_file(file(&rig, "9.bundle")).expect("removed");
    fs::remove_file(file(&rig, "2.bundle")).expect("removed");
    rig.keeper.scan();
    assert_eq!(rig.alarms(), [], "1.bundle was there before and nobody meant anything by it");
    // Three came over a link; then somebody puts the second back.
    assert_eq!(rig.peer_offers(&federal(3, 0)), Offered::Taken);
    assert!(rig.keeper.activate(false).is_some());
    write(&rig, "back.bundle", &federal(2, 0));
    rig.keeper.scan();
    assert!(rig.has_alarm(AlarmKind::Rollback, "back.bundle", "under a new revision"));
    assert!(rig.keeper.activate(true).is_some());
    assert_eq!(rig.revision("federation"), Some(3));
    rig.keeper.scan();
    assert!(rig.has_alarm(AlarmKind::Rollback, "back.bundle", "under a new revision"), "while it is there");
    fs::remove_file(file(&rig, "back.bundle")).expect("removed");
    rig.keeper.scan();
    assert_eq!(rig.alarms(), []);
}
