//! How many bytes a stream has, of which only the number of entries is known.

/// Fewest frames that the mean is over.
const FRAMES_MIN: f64 = 16.0;
/// What a frame is taken to weigh before there was one, bytes.
const FIRST: f64 = 2048.0;

/// What an entry of a stream weighs: the mean of about as many of our last frames as the stream has entries.
///
/// Over fewer it would say of the whole stream what is true of its end: where calls wait, frames are ten times as large as
/// those before, and a stream with room for all of them would be left alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weight {
    mean: f64,
    frames: f64,
}

impl Default for Weight {
    fn default() -> Self {
        Self { mean: FIRST, frames: FRAMES_MIN }
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate, of what is positive and far below 2^52"
)]
impl Weight {
    /// One frame more, bytes.
    pub(super) fn add(&mut self, bytes: usize) {
        self.mean += (bytes as f64 - self.mean) / self.frames;
    }

    /// Bytes of a stream with so many entries.
    pub(super) fn of(&mut self, entries: u64) -> u64 {
        self.frames = FRAMES_MIN.max(entries as f64);
        (entries as f64 * self.mean) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of these bytes are sent to a stream that drops none; gives its bytes and what they are taken for.
    fn filled(frames: impl IntoIterator<Item = usize>) -> (u64, u64) {
        let (mut weight, mut entries, mut bytes) = (Weight::default(), 0, 0);
        for frame in frames {
            weight.add(frame);
            (entries, bytes) = (entries + 1, bytes + frame as u64);
            weight.of(entries);
        }
        (bytes, weight.of(entries))
    }

    #[test]
    fn large_frames_at_the_end_do_not_make_all_of_the_stream_large() {
        let (bytes, taken_for) = filled(std::iter::repeat_n(2_000, 30_000).chain(std::iter::repeat_n(30_000, 300)));
        assert!(taken_for.abs_diff(bytes) < bytes / 10, "{taken_for} of {bytes}");
    }

    #[test]
    fn a_stream_of_large_frames_is_large() {
        for each in [100, 2_000, 30_000, 500_000] {
            let (bytes, taken_for) = filled(std::iter::repeat_n(each, 5_000));
            assert!(taken_for.abs_diff(bytes) < bytes / 10, "{taken_for} of {bytes}");
        }
        assert_eq!(Weight::default().of(0), 0);
    }

    #[test]
    fn what_is_dropped_at_the_other_end_is_forgotten() {
        let mut weight = Weight::default();
        for frame in std::iter::repeat_n(30_000, 5_000).chain(std::iter::repeat_n(1_000, 30_000)) {
            weight.add(frame);
            weight.of(5_000);
        }
        assert!(weight.of(5_000) < 6_000_000, "{}", weight.of(5_000));
    }
}
