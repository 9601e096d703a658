"""The fits behind configs/gpus/h100_sxm5.yaml, repeated and judged on rows that they had not seen."""
