"""Prices from CSV files: the default file, the user's, and every way in which one can be wrong."""

import gzip

import numpy as np
import pytest

from mcengine.finance import load_prices, prices

GOOD = ["2020-01-02,100.0", "2020-01-03,101.5", "2020-01-06,99.0", "2020-01-07,99.5"]


def write(tmp_path, rows, header="Date,Close", name="prices.csv"):
    path = tmp_path / name
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_the_default_file_is_the_sp500():
    found = load_prices()
    assert len(found.prices) == 5031
    assert found.dates[0] == np.datetime64("1999-01-04")
    assert found.dates[-1] == np.datetime64("2018-12-31")
    assert found.prices[0] == 1228.099976
    # Historical 99 % value at risk and expected shortfall of this file, on 51 points (published with the data).
    losses = np.sort(1 - np.exp(found.log_returns))[::-1]
    assert 100 * losses[:51].mean() == pytest.approx(4.689, abs=0.01)


def test_without_arch_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setattr(prices.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        FileNotFoundError, match=r"`arch`, which is not installed.*mcengine\[finance\].*problem.csv=PATH"
    ):
        load_prices()


def test_looking_for_the_default_file_does_not_import_arch():
    import subprocess
    import sys

    code = "import sys; from mcengine.finance import load_prices; load_prices(); print('arch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_a_good_file(tmp_path):
    found = load_prices(write(tmp_path, GOOD))
    np.testing.assert_array_equal(found.prices, [100.0, 101.5, 99.0, 99.5])
    np.testing.assert_array_equal(found.dates.astype(str), ["2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07"])
    np.testing.assert_allclose(found.log_returns, np.diff(np.log([100.0, 101.5, 99.0, 99.5])))
    assert found.source == "prices.csv"


def test_a_compressed_file(tmp_path):
    path = tmp_path / "prices.csv.gz"
    path.write_bytes(gzip.compress(("Date,Close\n" + "\n".join(GOOD) + "\n").encode()))
    np.testing.assert_array_equal(load_prices(path).prices, [100.0, 101.5, 99.0, 99.5])


@pytest.mark.parametrize(
    "dates",
    [
        ["1/30/2020", "1/31/2020", "2/3/2020"],
        ["30/01/2020", "31/01/2020", "03/02/2020"],
        ["30.01.2020", "31.01.2020", "03.02.2020"],
        ["20200130", "20200131", "20200203"],
        ["2020-01-30 00:00:00-05:00", "2020-01-31 00:00:00-05:00", "2020-02-03 00:00:00-05:00"],
        ["2020-01-30T20:00:00-05:00", "2020-01-31T20:00:00-05:00", "2020-02-03T20:00:00-05:00"],
    ],
    ids=lambda dates: dates[0],
)
def test_forms_of_dates(tmp_path, dates):
    found = load_prices(write(tmp_path, [f"{date},1.0" for date in dates]))
    np.testing.assert_array_equal(found.dates.astype(str), ["2020-01-30", "2020-01-31", "2020-02-03"])


def test_columns_are_found_by_name_in_any_case_adjusted_close_first(tmp_path):
    rows = ["9,2020-01-02,1.0,10.0", "9,2020-01-03,2.0,20.0"]
    path = write(tmp_path, rows, header="Open, DATE,Close,Adj Close")
    np.testing.assert_array_equal(load_prices(path).prices, [10.0, 20.0])
    np.testing.assert_array_equal(load_prices(path, price_column="close").prices, [1.0, 2.0])


def test_empty_lines_are_skipped_but_counted(tmp_path):
    rows = [GOOD[0], "", "2020-01-03,-1.0"]
    with pytest.raises(ValueError, match=r"row 4: Close = '-1.0'"):
        load_prices(write(tmp_path, rows))
    assert len(load_prices(write(tmp_path, [*GOOD, "", ""])).prices) == 4


BAD = {
    "text for a price": (["2020-01-02,1.0", "2020-01-03,abc"], r"prices.csv, row 3: Close = 'abc' is not a number"),
    "no price": (["2020-01-02,1.0", "2020-01-03,"], r"prices.csv, row 3: Close = an empty cell is missing \(NaN\)"),
    "nan": (["2020-01-02,1.0", "2020-01-03,NaN"], r"row 3: Close = an empty cell is missing \(NaN\)"),
    "negative": (["2020-01-02,1.0", "2020-01-03,-2.5"], r"prices.csv, row 3: Close = '-2.5' is not positive"),
    "zero": (["2020-01-02,0", "2020-01-03,1"], r"row 2: Close = '0' is not positive"),
    "infinite": (["2020-01-02,1", "2020-01-03,inf"], r"row 3: Close = 'inf' is not finite"),
    "not a date": (["2020-01-02,1", "someday,1", "2020-01-06,2"], r"prices.csv, row 3: Date = 'someday' is not a date"),
    "no date": (["2020-01-02,1", ",1", "2020-01-06,2"], r"row 3: Date = an empty cell is not a date"),
    "no such day": (["2020-02-28,1", "2020-02-30,1"], r"row 3: Date = '2020-02-30' is not a date"),
    "two forms": (["2020-01-02,1", "2020-01-03,1", "01/06/2020,2"], r"row 4: Date = '01/06/2020' is not a date"),
    "twice": (["2020-01-02,1", "2020-01-03,1", "2020-01-03,2"], r"row 4: the date 2020-01-03 occurs twice.*row 3"),
    "unordered": (
        ["2020-01-03,1", "2020-01-02,1"],
        r"row 3: the date 2020-01-02 comes after 2020-01-03.*sort the file",
    ),
    "gap": (
        ["2020-01-02,1", "2020-01-13,1"],
        r"row 3: 11 days lie between 2020-01-02 \(row 2\) and 2020-01-13, more than max_gap_days=10",
    ),
    "one price": (["2020-01-02,1"], r"1 rows of data; at least 2"),
    "header only": ([], r"0 rows of data; at least 2"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_named(tmp_path, name):
    rows, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        load_prices(write(tmp_path, rows))


def test_a_gap_can_be_allowed(tmp_path):
    path = write(tmp_path, ["2020-01-02,1", "2020-01-13,1"])
    assert len(load_prices(path, max_gap_days=11).prices) == 2


def test_missing_columns_are_named_with_near_matches(tmp_path):
    path = write(tmp_path, ["2020-01-02,1"], header="Dates,Closing")
    with pytest.raises(ValueError, match=r"no date column .*has Dates, Closing. Near matches: Dates"):
        load_prices(path)
    with pytest.raises(ValueError, match=r"no price column .*Near matches: Closing"):
        load_prices(path, date_column="Dates")
    with pytest.raises(ValueError, match=r"no price column called 'Clsing'.*Near matches: Closing"):
        load_prices(path, date_column="Dates", price_column="Clsing")


def test_an_empty_file_and_a_missing_one(tmp_path):
    path = tmp_path / "empty.csv"
    path.write_text("")
    with pytest.raises(ValueError, match=r"empty.csv: the file is empty"):
        load_prices(path)
    with pytest.raises(FileNotFoundError, match=r"nothing.csv"):
        load_prices(tmp_path / "nothing.csv")


def test_a_ragged_file(tmp_path):
    with pytest.raises(ValueError, match=r"ragged.csv: not a table"):
        load_prices(write(tmp_path, ["2020-01-02,1", "2020-01-03,1,2,3"], name="ragged.csv"))
