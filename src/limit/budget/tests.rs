//! One account and its sums.

use super::account::{EMPTY_MS, IDLE_MS};
use super::*;
use crate::limit::period::Window;

const AMOUNT: i64 = 10_000;

fn fresh(want: i64, sums: &mut Sums) -> Arc<Account> {
    let grant = sums.apply(&Claim { amount: AMOUNT, want, ..Claim::default() });
    let account = Arc::new(Account::new(Window::ALL, grant.sums.epoch));
    account.take(&grant, 0, 0);
    account
}

#[test]
fn what_is_used_beyond_the_reserve_is_charged() {
    let mut sums = Sums::default();
    let account = fresh(100, &mut sums);
    account.reserve(80, 0, None).unwrap().settle(150);
    assert_eq!(account.spent(), 150);
    let (claim, asked) = account.claim(AMOUNT, 0, true).unwrap();
    assert_eq!((claim.give, claim.spent), (-50, 150));
    assert!(account.take(&sums.apply(&claim), asked, 0));
    assert_eq!((sums.spent, sums.left(AMOUNT)), (150, AMOUNT - sums.taken));
    assert!(sums.taken >= 150);
}

#[test]
fn an_empty_budget_refuses_and_is_asked_again() {
    let mut sums = Sums { taken: AMOUNT - 10, ..Sums::default() };
    let account = fresh(10, &mut sums);
    assert_eq!(account.reserve(20, 0, None).unwrap_err(), Short::Empty { available: 10 }, "it is known");
    let question = match account.reserve(20, EMPTY_MS + 1, None).unwrap_err() {
        Short::Ask(question) => question,
        empty => panic!("{empty:?}"),
    };
    assert_eq!(account.reserve(20, 300, Some(question)).unwrap_err(), Short::Ask(question), "not answered yet");
    sums.extra = 100;
    let (claim, asked) = account.claim(AMOUNT, 300, true).unwrap();
    account.take(&sums.apply(&claim), asked, 300);
    account.reserve(20, 301, Some(question)).unwrap().settle(20);
}

#[test]
fn a_reset_begins_anew() {
    let mut sums = Sums::default();
    let account = fresh(100, &mut sums);
    sums = Sums { epoch: sums.epoch + 1, ..Sums::default() };
    account.reserve(10, 0, None).unwrap().settle(10);
    let (claim, asked) = account.claim(AMOUNT, 0, false).unwrap();
    assert!(!account.take(&sums.apply(&claim), asked, 0));
    assert_eq!(sums, Sums { epoch: 1, ..Sums::default() }, "what was spent before does not count");
}

#[test]
fn what_nobody_uses_goes_back() {
    let mut sums = Sums::default();
    let account = fresh(1000, &mut sums);
    let (claim, asked) = account.claim(AMOUNT, IDLE_MS, true).unwrap();
    assert_eq!((claim.give, claim.want), (1000, 0));
    account.take(&sums.apply(&claim), asked, IDLE_MS);
    assert_eq!(sums.taken, 0);
    assert!(account.is_settled() && account.close(AMOUNT).is_none());
}
