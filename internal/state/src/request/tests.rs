//! Tests of the table. What it means for requests is tested with apply.

use super::*;

#[test]
fn forgetting_leaves_nothing_behind_and_a_token_can_come_again() {
    let mut table = RequestTable::default();
    let request =
        |index: u64, token: u8| CommittedRequest { index, time_ms: 0, token: [token; 16], reply: Bytes::new() };
    table.insert(request(1, 1));
    table.insert(request(2, 2));
    table.trim(REQUEST_WINDOW + 1);
    assert_eq!((table.by_index.len(), table.by_token.len()), (1, 1));
    assert!(!table.contains(&[1; 16]) && table.contains(&[2; 16]));
    table.insert(request(REQUEST_WINDOW + 1, 1));
    table.trim(REQUEST_WINDOW + 2);
    assert_eq!(table.iter().map(|request| request.index).collect::<Vec<_>>(), [REQUEST_WINDOW + 1]);
    assert_eq!(table.find(&[1; 16]).map(|commit| commit.index), Some(REQUEST_WINDOW + 1));
    assert_eq!(table.by_token.len(), 1);
}
