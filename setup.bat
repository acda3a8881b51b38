@echo off
rem Finds a fitting Python and hands over to tools\setup, which does everything else.
setlocal
set "PYTHONUTF8=1"
set "FITS=import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))"

if not defined KOHYA_PYTHON goto search
"%KOHYA_PYTHON%" -c "%FITS%" >nul 2>nul && goto named
echo "%KOHYA_PYTHON%" (KOHYA_PYTHON) is no Python 3.11, 3.12 or 3.13. 1>&2
exit /b 2

:search
py -3.13 -c "%FITS%" >nul 2>nul && goto py313
py -3.12 -c "%FITS%" >nul 2>nul && goto py312
py -3.11 -c "%FITS%" >nul 2>nul && goto py311
python -c "%FITS%" >nul 2>nul && goto python
python3 -c "%FITS%" >nul 2>nul && goto python3

echo Python 3.11, 3.12 or 3.13 (64 bit) is needed, and none was found. 1>&2
echo What to do: install it from python.org or the Microsoft Store, then start setup.bat again. 1>&2
echo Is it installed somewhere else? set KOHYA_PYTHON=C:\path\to\python.exe 1>&2
if "%~1"=="" pause
exit /b 2

:named
"%KOHYA_PYTHON%" "%~dp0tools\setup" %*
goto end
:py313
py -3.13 "%~dp0tools\setup" %*
goto end
:py312
py -3.12 "%~dp0tools\setup" %*
goto end
:py311
py -3.11 "%~dp0tools\setup" %*
goto end
:python
python "%~dp0tools\setup" %*
goto end
:python3
python3 "%~dp0tools\setup" %*
goto end

:end
set "CODE=%ERRORLEVEL%"
rem A double click opens a window that would close before its message is read.
if not "%CODE%"=="0" if "%~1"=="" pause
exit /b %CODE%
