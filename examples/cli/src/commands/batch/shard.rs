//! A part of the jobs.

use std::str::FromStr;

/// Every `of`th job from `index` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    of: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/');
        let parts = parts.and_then(|(i, n)| Some([i.parse().ok()?, n.parse().ok()?]));
        let shard = parts.map(|[index, of]| Self { index, of });
        let valid = shard.filter(|shard| shard.index < shard.of);
        valid.ok_or_else(|| "expected I/N with I from 0 to N - 1, such as 0/3".into())
    }
}

impl Shard {
    /// Whether a job belongs to it.
    pub fn has(self, job: usize) -> bool {
        job % self.of == self.index
    }

    /// The part that a scheduler gives this process: all if there is none.
    ///
    /// - An array of Slurm: `SLURM_ARRAY_TASK_ID`, counted from `_MIN` in steps of `_STEP`, of `_COUNT`.
    /// - An indexed Job of Kubernetes: `JOB_COMPLETION_INDEX` of `JOB_COMPLETIONS`, which the manifest
    ///   has to pass, since Kubernetes does not tell it.
    ///
    /// # Errors
    /// If the variables are there, but make no part.
    pub fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let number = |name: &str| -> Result<usize, String> {
            let value = variable(name).unwrap_or_default();
            let number = value.parse();
            number.map_err(|_| format!("{name}: expected a number, found {value:?}"))
        };
        let or = |name: &str, default| match variable(name) {
            Some(_) => number(name),
            None => Ok(default),
        };
        let [index, of] = if variable("SLURM_ARRAY_TASK_ID").is_some() {
            let id = number("SLURM_ARRAY_TASK_ID")?;
            let first = or("SLURM_ARRAY_TASK_MIN", 0)?;
            let step = or("SLURM_ARRAY_TASK_STEP", 1)?.max(1);
            let of = number("SLURM_ARRAY_TASK_COUNT")?;
            [id.saturating_sub(first) / step, of]
        } else if variable("JOB_COMPLETION_INDEX").is_some() {
            [number("JOB_COMPLETION_INDEX")?, number("JOB_COMPLETIONS")?]
        } else {
            [0, 1]
        };
        format!("{index}/{of}").parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_have_every_job_once() {
        for of in 1..6 {
            let shards = (0..of).map(|i| format!("{i}/{of}").parse::<Shard>().unwrap());
            let shards: Vec<_> = shards.collect();
            for job in 0..20 {
                let having = shards.iter().filter(|shard| shard.has(job)).count();
                assert_eq!(having, 1, "job {job} of {of} shards");
            }
        }
        for text in ["", "1", "3/3", "0/0", "-1/2", "1/2/3", "a/b"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }

    #[test]
    fn schedulers_tell_the_shard() {
        let of = |variables: &[(&str, &str)]| {
            let get = |name: &str| {
                let found = variables.iter().find(|(other, _)| *other == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            Shard::of_environment(get)
        };
        let shard = |index, of| Ok(Shard { index, of });
        assert_eq!(of(&[]), shard(0, 1));
        let id = ("SLURM_ARRAY_TASK_ID", "9");
        let [count, first, step] = [
            ("SLURM_ARRAY_TASK_COUNT", "4"),
            ("SLURM_ARRAY_TASK_MIN", "5"),
            ("SLURM_ARRAY_TASK_STEP", "2"),
        ];
        assert_eq!(of(&[id, count, first, step]), shard(2, 4));
        assert!(of(&[id, count]).is_err());
        assert!(of(&[id]).unwrap_err().contains("SLURM_ARRAY_TASK_COUNT"));
        let index = ("JOB_COMPLETION_INDEX", "3");
        assert_eq!(of(&[index, ("JOB_COMPLETIONS", "8")]), shard(3, 8));
        assert!(of(&[index]).unwrap_err().contains("JOB_COMPLETIONS"));
    }
}
