"""What `print(result)` says: the numbers, and not their shapes alone."""

import jax
import jax.numpy as jnp
import numpy as np

import mcengine as mc

KEY, BUDGET, STANDARD = jax.random.key(0), mc.Samples(1_000), mc.Normal(0.0, 1.0)
FIRST, SECOND = mc.Expectation(lambda x: x, STANDARD), mc.Expectation(lambda x: 1.1 * x + 1.0, STANDARD)


def lines(problem, **options):
    result = mc.estimate(KEY, problem, budget=BUDGET, **options)
    return result, str(result).splitlines()


def test_each_of_a_few_numbers_has_a_line():
    result, (difference, first, second, counts, status) = lines(mc.difference(FIRST, SECOND))
    low, high = result.interval()
    value, error = result.value["difference"], result.std_error["difference"]
    ends = f"[{low['difference']:.6g}, {high['difference']:.6g}]"
    assert difference == f"difference: {value:.8g} +- {error:.2g}   95 % interval {ends}   ok"
    assert first.startswith("first: ")
    assert second.startswith("second: ")
    assert counts.startswith("1,000 samples")
    assert status == "status: ok."


def test_bins_are_numbered_and_each_says_what_is_wrong_with_it():
    _, (inside, beyond, _, status) = lines(FIRST, functional=mc.Histogram([-1.0, 1.0, 9.0]))
    assert inside.startswith("[0]: 0.")
    assert beyond.startswith("[1]: 0.")
    assert status == "status: ok."
    _, (_, beyond, _, status) = lines(FIRST, functional=mc.Histogram([-1.0, 8.0, 9.0]))
    assert beyond.endswith("   no_hits")
    assert "+-" not in beyond  # nothing was seen to vary
    assert status.startswith("status: no hits")


def test_a_large_array_has_one_line_and_many_outputs_are_counted():
    many = mc.Expectation(lambda x: {"a": x + jnp.arange(20.0), "b": x}, STANDARD)
    result, (of_a, of_b, _, _) = lines(many)
    ends = f"{result.value['a'][0]:.6g} to {result.value['a'][-1]:.6g}"
    assert of_a.startswith(f"a: 20 numbers of shape (20,), {ends}   standard errors to 0.03")
    assert of_b.startswith("b: ")
    tree = mc.Expectation(lambda x: {f"{i:02}": x for i in range(20)}, STANDARD)
    assert lines(tree)[1][16] == "and 4 more"


def test_a_single_number_reads_as_before():
    result, (head, detail, _) = lines(FIRST)
    assert head.startswith(f"{result.value:.8g} +- {result.std_error:.2g}   95 % interval [")
    assert "k-hat" in detail
    assert str(np.round(result.ess)).split(".")[0] in detail
