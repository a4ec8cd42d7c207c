# A Docker Space on Hugging Face, or any host: the explorer and the live demo on port 7860.
FROM python:3.12-slim
RUN useradd --create-home --uid 1000 user
WORKDIR /home/user/app
COPY requirements-serve.txt .
RUN pip install --no-cache-dir -r requirements-serve.txt
COPY . .
USER 1000
ENV HOME=/home/user MPLCONFIGDIR=/tmp GRADIO_TEMP_DIR=/tmp/gradio HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD python -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/healthz', timeout=4)"
CMD ["python", "-m", "rd4ad.cli", "serve", "--host", "0.0.0.0", "--port", "7860"]
