"""Comparators, specific before general. To add one: a file, a row here, a golden test."""

TABLE: dict[str, str] = {
    "onnx": "harness.comparators.onnx:Onnx",
    "lightgbm": "harness.comparators.lightgbm:LightGbm",
    "xgboost": "harness.comparators.xgboost:XgBoost",
    "catboost": "harness.comparators.catboost:CatBoost",
    "skops": "harness.comparators.skops:SkopsComparator",
    "mlmodel": "harness.comparators.textual:MlmodelComparator",
    "safetensors": "harness.comparators.safetensors:SafetensorsComparator",
    "npy": "harness.comparators.npy:NpyComparator",
    "npz": "harness.comparators.npy:NpzComparator",
    "pickle": "harness.comparators.pickle:PickleComparator",
    "toml": "harness.comparators.textual:TomlComparator",
    "yaml": "harness.comparators.textual:YamlComparator",
    "json": "harness.comparators.textual:JsonComparator",
    "text": "harness.comparators.textual:TextComparator",
}
GROUP = "harness.comparators"
