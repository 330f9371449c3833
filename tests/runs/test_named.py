import pytest

from cnnlab.errors import RunError
from cnnlab.runs import load
from cnnlab.runs.checkpoint import checkpoint_steps
from tests.runs.synthetic import write_json, write_run


def write_checkpoint(run, step, metrics, mode="min"):
  about = run / "checkpoints" / str(step) / "about"
  about.mkdir(parents=True)
  config = {"derived": {"main_metric": ["eval/error", mode]}}
  write_json(about / "metadata", {"config": config, "metrics": metrics})


@pytest.mark.parametrize(("mode", "best"), [("min", "30"), ("max", "10")])
def test_the_best_is_by_the_tasks_metric_and_of_equals_the_newest(tmp_path, mode, best):
  run = write_run(tmp_path / "run")
  for step, error in ((10, 0.5), (20, 0.2), (30, 0.2), (40, 0.3)):
    write_checkpoint(run, step, {"eval/error": error, "eval/top1": 0.0}, mode)
  write_checkpoint(run, 50, {})  # saved by an interruption, not evaluated
  (run / "checkpoints" / "60.orbax-checkpoint-tmp").mkdir()
  named = run / "checkpoints" / "best"
  assert load(run).best.checkpoint == run / "checkpoints" / best
  assert load(named).checkpoint == run / "checkpoints" / best
  assert load(named).directory == run
  assert [path.name for path in checkpoint_steps(named)] == [best]
  assert not named.exists()


def test_without_an_evaluated_checkpoint_there_is_no_best(tmp_path):
  run = write_run(tmp_path / "run")
  write_checkpoint(run, 10, {})
  for ask in (lambda: load(run).best, lambda: load(run / "checkpoints" / "best")):
    with pytest.raises(RunError, match="none of the 1 checkpoints"):
      ask()
