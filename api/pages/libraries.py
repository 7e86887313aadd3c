"""Names that the form proposes while somebody types. Any other that the index has can be typed as well."""

KNOWN = tuple(
    """
    accelerate aiohttp albumentations altair anndata astropy beautifulsoup4 bitsandbytes black bokeh boto3 catboost
    cartopy celery click cupy-cuda12x cvxpy dask datasets deepspeed diffusers django duckdb einops evaluate faiss-cpu
    fastapi fiona flask flax fsspec gensim geopandas gradio gymnasium h5py httpx huggingface-hub hydra-core imageio
    imbalanced-learn ipykernel ipython ipywidgets jax jinja2 joblib jupyterlab kornia langchain lightgbm lightning
    llama-index lxml matplotlib mlflow monai mypy netcdf4 networkx nibabel nltk notebook numba numpy obspy onnx
    onnxruntime opencv-python-headless openai openpyxl optax optuna pandas peft pillow plotly polars pooch prophet
    psycopg pyarrow pydantic pymc pyproj pytest pytorch-lightning pyyaml rasterio ray requests rich rioxarray ruff
    safetensors scanpy scikit-image scikit-learn scipy seaborn sentence-transformers sentencepiece shap shapely
    simpleitk spacy sqlalchemy stable-baselines3 statsmodels streamlit sympy tensorboard tensorflow tifffile tiktoken
    timm tokenizers torch torch-geometric torchaudio torchmetrics torchvision tqdm transformers trl umap-learn
    unstructured vllm wandb xarray xgboost zarr
    """.split()  # noqa: SIM905 - a list of strings would be three times as long and read no better
)
