"""The example of many-body models runs, and its model describes frames that it has not seen."""

from test_examples_nbody import load_example

from openmm_kml.weights import load


def test_copper_is_learned(tmp_path, monkeypatch, capsys):
    example = load_example("copper_soap")
    path = tmp_path / "copper.safetensors"
    monkeypatch.setattr("sys.argv", ["copper_soap.py", "--output", str(path), "--frames", "6", "--sparse", "60"])
    example.main()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    errors = {words[0]: [float(word) for word in words[-3:]] for words in lines if words[:1] in (["two"], ["SOAP"])}
    mean = next(float(words[2]) for words in lines if words[:2] == ["forces", "are"])
    assert errors["SOAP"][1] < 0.3 * mean
    assert [term.kind for term in load(path).terms] == ["spline2", "soap", "repulsion"]
    assert any(words[:2] == ["surface", "(111),"] for words in lines)
