<#
.SYNOPSIS
    Finds a Python and performs a task of tools/dev.py; without a task, the demo.
.EXAMPLE
    powershell -ExecutionPolicy Bypass -File tools\bootstrap.ps1
.EXAMPLE
    tools\bootstrap.ps1 test -k statistics
.NOTES
    For Windows PowerShell 5.1 and newer. The tasks are defined in tools/dev.py and nowhere else.
    No param block: it would take arguments such as -v and -k for its own.
#>

# A caller's "Stop" would turn whatever a program writes to stderr into an exception.
$ErrorActionPreference = "Continue"

# Windows puts a "python" on PATH that only opens the Store, and "py" may exist without any Python:
# what counts is that the program runs. Whether it is new enough is for dev.py to say.
function Test-Python([string[]]$Command) {
    if (-not (Get-Command $Command[0] -ErrorAction SilentlyContinue)) { return $false }
    $options = @($Command | Select-Object -Skip 1)
    & $Command[0] @options -c "pass" 2>$null | Out-Null
    return $LASTEXITCODE -eq 0
}

$python = $null
foreach ($candidate in @("py", "-3"), @("python"), @("python3")) {
    if (Test-Python $candidate) { $python = $candidate; break }
}
if (-not $python) {
    Write-Host "No Python was found (tried: py -3, python, python3)."
    Write-Host "Get one with:   winget install Python.Python.3.12"
    Write-Host "or from https://www.python.org/downloads/, then open a new terminal and try again."
    exit 1
}

$options = @($python | Select-Object -Skip 1)
$task = @(if ($args.Count) { $args } else { "demo" })
& $python[0] @options (Join-Path $PSScriptRoot "dev.py") @task
exit $LASTEXITCODE
