//! Delays of an animation.

use super::delay;

#[test]
fn an_animation_lasts_as_long_as_it_should() {
    let delays: Vec<_> = (0..30).map(|i| delay(i, 1.0 / 30.0)).collect();
    assert_eq!(delays.iter().sum::<std::time::Duration>().as_millis(), 1000);
    for delay in delays {
        assert!([30, 40].contains(&delay.as_millis()));
    }
}
